"""What the tests of a conversation share."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.sounds import Line, recording
from conversation import vad
from shared.audio.vad import VoiceActivityDetector
from shared.settings import Settings
from tests.support.conversations import Conversed, Talking, converse
from tests.support.hearing import Hearing
from tests.support.scripted_stages import Cast
from tests.support.virtual_clock import play


class RememberingDetector(VoiceActivityDetector):
    """The detector, whose answers are kept: where tests play one recording it takes most of their time."""

    answers: ClassVar[dict[bytes, float]] = {}
    """By the digest of all frames up to this one."""

    def __init__(self) -> None:
        super().__init__()
        self._digest = b""
        self._unasked: list[NDArray[np.float32]] = []

    def probability(self, frame: NDArray[np.float32]) -> float:
        self._digest = blake2b(self._digest + frame.tobytes()).digest()
        self._unasked.append(frame)
        if self._digest not in self.answers:
            for one in self._unasked:
                self.answers[self._digest] = super().probability(one)
            self._unasked.clear()
        return self.answers[self._digest]

    def reset(self) -> None:
        super().reset()
        self._digest = b""
        self._unasked.clear()


@pytest.fixture(autouse=True)
def _answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "VoiceActivityDetector", RememberingDetector)


@pytest.fixture
def talking(tmp_path: Path) -> Talking:
    """Plays a conversation in which these lines are said."""

    def conversation(lines: Iterable[Line], scripted: Cast, **how: Any) -> Conversed:
        lines = list(lines)
        ends_s = max(at_s + pcm.duration_s for at_s, pcm in lines) + how.pop("silence_after_s", 2.0)
        return play(converse(recording(lines, ends_s), scripted, tmp_path, **how))

    return conversation


@pytest.fixture
def listener() -> Iterator[Hearing]:
    with closing(Hearing(Settings())) as listener:
        yield listener
