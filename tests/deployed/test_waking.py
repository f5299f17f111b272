"""Services that have scaled to zero: an accepted turn wakes them, once, and a refused one does not."""

import asyncio

import numpy as np
import pytest

from orchestrator.modal_stages import ModalStages
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.payloads import ChatMessage
from shared.settings import Settings
from shared.stage_stream import StageStarted, Transcript
from shared.turn import TurnFailed, TurnRequest
from tests.support.answering_deployment import AnsweringProject, answering_project, ask_all, check, question
from tests.support.answering_engines import transcript_of
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import remote
from tests.support.waiting import GIVE_UP_S, until_async


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AnsweringProject:
    made = answering_project(tmp_path_factory.mktemp("project"), cloud)
    made.deploy_all()
    return made


def silence(duration_s: float) -> Pcm:
    return Pcm(np.zeros(round(duration_s * 16_000), np.float32), 16_000)


def loads(project: AnsweringProject, *stages: str) -> list[int]:
    """How many containers of each stage have loaded their engine."""
    return [project.points.times_reached(f"{stage}-load", 0) for stage in stages]


async def test_a_turn_that_is_refused_starts_no_service(project: AnsweringProject) -> None:
    too_short = TurnRequest(audio=encode_mp3(silence(0.05)))
    stream = remote("speech-to-speech", "stream_turn").remote_gen.aio(too_short)
    assert isinstance([event async for event in stream][-1], TurnFailed)
    await asyncio.sleep(2)  # a container of the local cloud has loaded after one
    assert loads(project, "asr", "llm", "tts") == [0, 0, 0]


async def test_first_turns_at_once_start_one_container_of_what_they_wake(project: AnsweringProject) -> None:
    for told in await ask_all([2, 4, 6]):
        check(told)
    assert loads(project, "llm", "tts") == [1, 1]


async def test_audio_of_this_process_reaches_the_asr_whole(project: AnsweringProject) -> None:
    mp3 = question(3).audio
    assert mp3
    async with ModalStages(Settings()) as stages:
        items = [item async for item in stages.transcribe(to_pcm(mp3))]
    assert [item.text for item in items if isinstance(item, Transcript)] == [transcript_of(3)]


async def test_a_service_that_was_woken_in_vain_is_warm_for_a_later_turn(project: AnsweringProject) -> None:
    project.deploy(Stage.LLM, LLM_MODEL="answering")  # its container is a new one now
    before = loads(project, "llm")
    async with ModalStages(Settings(), wake_ahead=True) as stages:
        async for _ in stages.transcribe(encode_mp3(silence(1))):
            pass
        await until_async(lambda: loads(project, "llm") > before)
        async with asyncio.timeout(GIVE_UP_S):
            while await starts_cold(stages):
                pass  # as it does soon after it was woken
    assert loads(project, "llm") == [before[0] + 1]


async def starts_cold(stages: ModalStages) -> bool:
    """Whether a reply does."""
    message = ChatMessage(role="user", content="question 8")
    reply = stages.generate([message], max_tokens=5, temperature=0.0)
    started = await anext(reply)
    await reply.aclose()
    assert isinstance(started, StageStarted)
    return started.cold
