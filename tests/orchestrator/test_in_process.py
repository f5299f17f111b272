"""The stages in this process: they load by themselves, serve turns, and leave nothing behind."""

import asyncio
import threading

import psutil

from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from services.selection import select
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import StageWaiting, TranscriptReady, TurnRequest, TurnResult
from tests.support.paths import EXAMPLES

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


def left_behind() -> tuple[list[str], list[str]]:
    threads = [thread.name for thread in threading.enumerate() if "engine" in thread.name]
    processes = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    return threads, [process for process in processes if "pocketsphinx" in process]


async def test_several_turns_at_once_each_get_the_answer_to_their_question() -> None:
    async with InProcessStages(select(SETTINGS), SETTINGS) as engines:
        results = await asyncio.gather(*(answer(engines) for _ in range(3)))
    assert {result.reply for result in results} == {"Two plus two is four."}
    assert all(isinstance(result.audio, Pcm) and result.audio.duration_s > 0.5 for result in results)
    assert left_behind() == ([], [])


async def test_a_turn_that_comes_before_the_engines_are_loaded_waits_for_them() -> None:
    settings = Settings(tts_model="espeak", stage_waiting_after_s=0.001)
    async with InProcessStages(select(settings), settings) as engines:
        events = [event async for event in Pipeline(engines, settings).stream(question())]
    assert isinstance(events[1], StageWaiting)
    assert events[1].stage is Stage.ASR
    assert any(isinstance(event, TranscriptReady) for event in events)


async def test_every_engine_is_told_as_it_is_loaded() -> None:
    told: list[Stage] = []
    async with InProcessStages(select(SETTINGS), SETTINGS) as engines:
        await engines.loaded(told.append)
    assert sorted(told) == [Stage.ASR, Stage.LLM, Stage.TTS]
    assert told[-1] is Stage.ASR  # it takes half a second, the others next to nothing


async def test_a_turn_cancelled_in_the_middle_of_recognition_leaves_nothing_behind() -> None:
    async with InProcessStages(select(SETTINGS), SETTINGS) as engines:
        await engines.loaded(lambda stage: None)
        turn = asyncio.create_task(answer(engines))
        await asyncio.sleep(0.1)
        turn.cancel()
        await asyncio.wait([turn])
        assert turn.cancelled()
        again = await answer(engines)
    assert again.reply == "Two plus two is four."
    assert left_behind() == ([], [])
