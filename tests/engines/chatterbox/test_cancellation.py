"""Cancelling Chatterbox's speech, between any two steps of the model."""

import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from services.host.tts_host import TTSHost
from services.tts.chatterbox import ChatterboxTTS
from services.tts.chatterbox_text import longest_s
from shared.errors import StageFailed
from shared.settings import Settings
from shared.stage_stream import AudioSegment, StageFinished
from tests.engines.chatterbox.tiny_engine import (
    DECODING,
    SENTENCE,
    TOKEN_STEP,
    VOCODING,
    SetAfter,
    counted,
    replace,
    speak,
)
from tests.engines.tiny_chatterbox import ENDLESS_T3, NUM_TOKENS
from tests.support.waiting import until_async


def test_cancelling_acts_between_two_speech_tokens(endless: ChatterboxTTS) -> None:
    cancelled = SetAfter(7)
    with counted() as calls:
        assert list(endless.synthesize(SENTENCE, cancelled)) == []
    assert 0 < calls[TOKEN_STEP] <= 7
    assert calls[DECODING] == 0


def test_cancelling_from_another_thread_acts_at_the_next_token(endless: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    at_cancelling: list[int] = []

    with counted() as calls:

        def cancel_after_some(module: torch.nn.Module, *_: object) -> None:
            if calls[TOKEN_STEP] == 20 and not at_cancelling:
                at_cancelling.append(calls[TOKEN_STEP])
                canceller = threading.Thread(target=cancelled.set)
                canceller.start()
                canceller.join()

        with torch.nn.modules.module.register_module_forward_hook(cancel_after_some):
            assert list(endless.synthesize(SENTENCE, cancelled)) == []
    assert calls[TOKEN_STEP] <= 21


def test_cancelling_acts_between_the_last_token_and_the_sound(engine: ChatterboxTTS) -> None:
    worked: set[tuple[bool, bool, bool]] = set()
    for looks in range(NUM_TOKENS, NUM_TOKENS + 6):
        with counted() as calls:
            spoken = list(engine.synthesize(SENTENCE, SetAfter(looks)))
        worked.add((calls[DECODING] > 0, calls[VOCODING] > 0, bool(spoken)))
    assert worked == {(False, False, False), (True, False, False), (True, True, True)}


def test_what_is_cancelled_before_it_begins_is_not_begun(engine: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with counted() as calls:
        assert list(engine.synthesize(SENTENCE, cancelled)) == []
    assert calls[TOKEN_STEP] == 0


def test_after_a_cancelled_piece_no_other_piece_comes(engine: ChatterboxTTS) -> None:
    cancelled = threading.Event()
    pieces = engine.synthesize(f"{SENTENCE} " * 12, cancelled)
    next(pieces)
    cancelled.set()
    with counted() as calls:
        assert list(pieces) == []
    assert calls[TOKEN_STEP] == 0


async def test_the_only_thread_is_free_soon_after_a_stream_or_the_engine_is_closed(
    snapshot: Path, files: Path
) -> None:
    replace(snapshot / "t3_turbo_v1.safetensors", files / ENDLESS_T3)
    host = TTSHost(ChatterboxTTS(), Settings())
    await host.load()

    stream = host.synthesize(f"{SENTENCE} " * 8)
    await closed_while_it_speaks(stream, stream.aclose)
    with counted() as calls:
        items = [item async for item in host.synthesize("Yes.")]
    assert isinstance(items[1], AudioSegment)
    assert isinstance(items[-1], StageFinished)
    assert calls[TOKEN_STEP] < longest_s("Yes.") * 25 + 5

    at_closing = await closed_while_it_speaks(host.synthesize(f"{SENTENCE} " * 8), host.close)
    assert at_closing[DECODING] == 0
    with pytest.raises(StageFailed, match="not loaded"):
        speak(host.engine, SENTENCE)


async def closed_while_it_speaks(
    stream: AsyncGenerator[Any, None], close: Callable[[], Awaitable[None]]
) -> Counter[str]:
    """What the model did for the stream until it was closed, after its tenth token."""
    async with aclosing(stream):
        await anext(stream)
        with counted() as calls:
            await until_async(lambda: calls[TOKEN_STEP] >= 10)
            await close()
            return calls
