"""The stages in this process: they load by themselves, serve turns, and leave nothing behind."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from services.asr.pocketsphinx import PocketsphinxASR
from services.selection import Selection, select
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import StageWaiting, TranscriptReady, TurnRequest, TurnResult
from tests.support.paths import EXAMPLES
from tests.support.processes import descendants_with
from tests.support.waiting import GIVE_UP_S

pytestmark = pytest.mark.slow

EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"
SETTINGS = Settings(tts_model="espeak")


def question() -> TurnRequest:
    return TurnRequest(audio=decode_audio(EXAMPLE.read_bytes(), SETTINGS))


async def answer(engines: InProcessStages) -> TurnResult:
    builder, result = TurnResultBuilder(), None
    async for event in Pipeline(engines, SETTINGS).stream(question()):
        result = builder.add(event)
    assert result
    return result


def threads_and_processes() -> set[str]:
    """The engines' threads and worker processes that there are."""
    found = {f"{thread.name} {thread.ident}" for thread in threading.enumerate() if "engine" in thread.name}
    return found | {str(worker.pid) for worker in descendants_with("pocketsphinx")}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = threads_and_processes()  # what other tests have left is not ours
    yield
    assert threads_and_processes() <= before


def selection_with(asr: type[PocketsphinxASR]) -> Selection:
    selection = select(SETTINGS)
    return selection._replace(asr=replace(selection.asr, engine=asr))


async def test_several_turns_at_once_each_get_the_answer_to_their_question() -> None:
    async with InProcessStages(select(SETTINGS), SETTINGS) as engines:
        results = await asyncio.gather(*(answer(engines) for _ in range(3)))
    assert {result.reply for result in results} == {"Two plus two is four."}
    assert all(isinstance(result.audio, Pcm) and result.audio.duration_s > 0.5 for result in results)


async def test_a_turn_that_comes_before_the_engines_are_loaded_waits_for_them() -> None:
    settings = Settings(tts_model="espeak", stage_waiting_after_s=0.001)
    async with InProcessStages(select(settings), settings) as engines:
        events = [event async for event in Pipeline(engines, settings).stream(question())]
    assert isinstance(events[1], StageWaiting)
    assert events[1].stage is Stage.ASR
    assert any(isinstance(event, TranscriptReady) for event in events)


async def test_every_engine_is_observed_as_soon_as_it_is_loaded() -> None:
    others_observed = threading.Event()

    class LoadsLast(PocketsphinxASR):
        def load(self) -> None:
            assert others_observed.wait(GIVE_UP_S)
            super().load()

    observed: list[Stage] = []

    def on_loaded(stage: Stage) -> None:
        observed.append(stage)
        if set(observed) == {Stage.LLM, Stage.TTS}:
            others_observed.set()

    async with InProcessStages(selection_with(LoadsLast), SETTINGS) as engines:
        await engines.loaded(on_loaded)
    assert sorted(observed) == [Stage.ASR, Stage.LLM, Stage.TTS]


async def test_a_turn_cancelled_in_the_middle_of_recognition_leaves_nothing_behind() -> None:
    at_work = threading.Event()

    class Watched(PocketsphinxASR):
        def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
            at_work.set()
            return super().transcribe(pcm, language=language)

    async with InProcessStages(selection_with(Watched), SETTINGS) as engines:
        await engines.loaded(lambda stage: None)
        turn = asyncio.create_task(answer(engines))
        assert await asyncio.to_thread(at_work.wait, GIVE_UP_S)
        turn.cancel()
        await asyncio.wait([turn])
        assert turn.cancelled()
        again = await answer(engines)
    assert again.reply == "Two plus two is four."
