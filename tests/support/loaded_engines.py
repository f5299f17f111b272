"""Engines of a run of the command in this process that are loaded once for many runs: loading takes most of a
turn."""

from dataclasses import replace
from typing import Any

import pytest

from services.selection import discover
from shared.engines import MODEL_REGISTRY, Engine
from shared.errors import Stage

DEFAULTS = {Stage.ASR: "whisper", Stage.TTS: "hibari"}
_loaded: dict[type[Engine], dict[str, Any]] = {}


def keep_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the engines that are selected by default stay loaded, from one run to the next."""
    discover()
    for stage, name in DEFAULTS.items():
        if model := MODEL_REGISTRY[stage].get(name):
            monkeypatch.setitem(MODEL_REGISTRY[stage], name, replace(model, engine=_kept(model.engine)))


def _kept(engine: type[Engine]) -> type[Engine]:
    class Kept(engine):  # type: ignore[misc, valid-type]  # whichever it is
        def load(self) -> None:
            if engine not in _loaded:
                before = dict(self.__dict__)
                super().load()
                _loaded[engine] = {
                    name: now for name, now in self.__dict__.items() if now is not before[name]
                }
            self.__dict__.update(_loaded[engine])

        def close(self) -> None:
            """It is used again."""

    return Kept
