"""Smart Turn on real speech, on its published model."""

import asyncio
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pytest

from bench.sounds import HZ, Samples, example, recorded
from conversation.smart_turn import MODEL_FILE, SmartTurn
from services.weights import weights_folder
from services.weights.pinned import SMART_TURN
from shared.errors import EngineLoadFailed, Misconfigured
from tests.support.conversations import HELLO, QUESTION, Talking, answering

pytestmark = pytest.mark.slow

T = TypeVar("T")

SILENCE_S = 0.25
"""It is asked after so much of it."""


def smart_turn() -> SmartTurn:
    return SmartTurn(weights_folder(SMART_TURN) / MODEL_FILE)


async def probability(*said: Samples) -> list[float]:
    async with smart_turn() as model:
        return [await model.probability(np.pad(one, (0, round(SILENCE_S * HZ)))) for one in said]


async def test_of_most_who_have_finished_it_says_so() -> None:
    names = "what-is-two-plus-two", "my-name-is-peter", "what-is-my-name", "what-time-is-it", "tell-me-a-joke"
    finished = await probability(*(example(name).samples for name in names))
    assert sum(one > 0.5 for one in finished) >= 4  # flite sounds like nobody it was trained on


async def test_of_human_speech_it_tells_the_end_from_a_pause_in_a_sentence(recordings: Path) -> None:
    jfk, question = (recorded(recordings / name) for name in ("jfk.flac", "bear-or-shark.mp3"))
    # "ask" and "not", after which he pauses; "for your country", and the question's end
    pauses = await probability(jfk[: round(3.71 * HZ)], jfk[: round(4.29 * HZ)])
    ends = await probability(jfk[: round(10.5 * HZ)], question[: round(2.02 * HZ)])
    assert max(pauses) < 0.1
    assert min(ends) > 0.8


async def test_it_hears_the_last_eight_seconds() -> None:
    eight_s = np.pad(QUESTION.samples, (round((8 - SILENCE_S) * HZ) - QUESTION.num_samples, 0))
    later, alone, behind, in_them = await probability(
        np.concatenate([HELLO.samples, eight_s]),
        eight_s,
        QUESTION.samples,
        np.concatenate([HELLO.samples, QUESTION.samples]),
    )
    assert later == alone == behind != in_them


@pytest.mark.parametrize("samples", [0, 1, 20 * HZ])
async def test_it_takes_any_length(samples: int) -> None:
    async with smart_turn() as model:
        assert 0.0 <= await model.probability(np.zeros(samples, np.float32)) <= 1.0


async def test_the_event_loop_goes_on_while_it_works() -> None:
    async with smart_turn() as model:
        asking = asyncio.gather(*(model.probability(QUESTION.samples) for _ in range(6)))
        turns_of_the_loop = 0
        while not asking.done():
            turns_of_the_loop += 1
            await asyncio.sleep(0)
    assert turns_of_the_loop > 10


async def test_an_answer_that_is_not_wanted_any_more_can_be_cancelled() -> None:
    async with smart_turn() as model:
        stale = [asyncio.create_task(model.probability(QUESTION.samples)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in stale:
            task.cancel()
        assert 0.0 <= await model.probability(QUESTION.samples) <= 1.0
        assert all(task.cancelled() for task in stale)


async def test_a_file_that_is_no_model_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(b"no model")
    with pytest.raises(EngineLoadFailed, match=MODEL_FILE):
        async with SmartTurn(tmp_path / MODEL_FILE):
            pass


@pytest.mark.parametrize("package", ["onnxruntime", "faster_whisper"])
async def test_without_its_libraries_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "faster_whisper.feature_extractor", raising=False)
    with pytest.raises(Misconfigured, match=r"\[neural\], or set S2S_TURN_DETECTION=silence"):
        async with smart_turn():
            pass


def test_in_a_conversation_it_ends_turns_sooner_and_who_is_cut_off_loses_nothing(talking: Talking) -> None:
    again_s = 0.5 + HELLO.duration_s + 0.8
    with Beside(smart_turn()) as model:
        conversed = talking(
            [(0.5, HELLO), (again_s, QUESTION)],
            answering("Never played.", "It is four.", asr_s=1.0),
            turn_model=model,
        )
    assert conversed.outcomes == ["completed"]
    ends = conversed.turns[0].record.ends
    assert [(end.ended_by, end.spoke_on) for end in ends] == [("model", True), ("model", False)]
    assert ends[0].silence_us < 800_000
    assert conversed.turns[0].question.duration_s > HELLO.duration_s + QUESTION.duration_s


class Beside:
    """The model in an event loop beside the virtual clock, which stands still while it is asked."""

    def __init__(self, model: SmartTurn) -> None:
        self._model = model
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1)
        self._in_thread(self._model.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self._in_thread(self._model.__aexit__())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    async def probability(self, samples: Samples) -> float:
        return self._in_thread(self._model.probability(samples))

    def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(self._runner.run, work).result()
