"""Which model judges the ends of turns, and what is said where it cannot."""

from pathlib import Path

import pytest

from client.turn_model import turn_model_of
from conversation.smart_turn import SmartTurn
from shared.errors import WeightsMissing
from shared.settings import Settings
from tests.support.conversations import QUESTION


async def test_none_does_by_default() -> None:
    async with turn_model_of(Settings()) as model:
        assert model is None


async def test_smart_turn_does_where_it_is_chosen() -> None:
    async with turn_model_of(Settings(turn_detection="smart")) as model:
        assert isinstance(model, SmartTurn)
        assert 0.0 <= await model.probability(QUESTION.samples) <= 1.0


def test_a_model_that_was_not_fetched_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"pipecat-ai==1\.14\.0 .*Run: s2s fetch-weights"):
        turn_model_of(Settings(turn_detection="smart"))
