"""What the tests of a conversation share."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.sounds import Line, recording
from conversation.listener import Listener
from shared.settings import Settings
from tests.support.conversations import Conversed, Talking, converse
from tests.support.scripted_stages import Cast
from tests.support.virtual_clock import play


@pytest.fixture
def talking(tmp_path: Path) -> Talking:
    """Plays a conversation in which these lines are said."""

    def conversation(lines: Iterable[Line], scripted: Cast, **how: Any) -> Conversed:
        lines = list(lines)
        ends_s = max(at_s + pcm.duration_s for at_s, pcm in lines) + how.pop("silence_after_s", 2.0)
        return play(converse(recording(lines, ends_s), scripted, tmp_path, **how))

    return conversation


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener(Settings(), lambda: 0.0)) as listener:
        yield listener
