"""Many turns at once, redeployments under way, and requests of all kinds: everyone gets their own answer."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import modal
import numpy as np
import pytest
from modal._utils import function_utils

from shared.audio.decode import decode_audio, to_pcm
from shared.audio.pcm import resample
from shared.deployment import APPS
from shared.errors import Stage
from shared.payloads import Mp3Audio, Payload
from shared.settings import Settings
from shared.turn import TranscriptReady, TurnFailed, TurnResult, TurnStarted
from tests.support.answering_deployment import (
    AnsweringProject,
    Told,
    answering_project,
    ask,
    check,
    check_failed,
    question,
)
from tests.support.answering_engines import QUESTION_0_SAMPLES, reply_to, speech_samples, transcript_of
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import remote
from tests.support.sounds import sound_file
from tests.support.waiting import until_async

TURNS = 20
SERVICES = (Stage.ASR, Stage.LLM, Stage.TTS)
SETTINGS = {
    "S2S_MAX_ACTIVE_TURNS": str(TURNS),
    "S2S_ASR_MAX_CONTAINERS": "2",
    "S2S_LLM_MAX_CONTAINERS": "2",
    "S2S_TTS_MAX_CONTAINERS": "3",
    "S2S_ORCHESTRATOR_MAX_CONTAINERS": "1",
}


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AnsweringProject:
    made = answering_project(tmp_path_factory.mktemp("project"), cloud)
    made.deploy_all(**SETTINGS)
    return made


class Sent:
    """An object that arrives as what another program has pickled."""

    def __init__(self, restore: Callable[..., Any], *arguments: Any) -> None:
        self._reduced = restore, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def sent_by_another_version(payload: Payload, without: str, **new: Any) -> Sent:
    """The payload as pickled by a side whose class lacks a field and has others."""
    restore, (kind, fields) = payload.__reduce__()
    return Sent(restore, kind, {name: value for name, value in fields.items() if name != without} | new)


async def test_turns_at_once_are_each_answered_and_one_above_the_limit_is_refused_at_once(
    project: AnsweringProject,
) -> None:
    for number in range(TURNS):
        for stage in SERVICES:
            project.points.order(f"{stage}-begin", number, "hold")
    tolds = [Told(number) for number in range(TURNS)]
    turns = [asyncio.create_task(ask(told.number, told)) for told in tolds]
    await until_async(lambda: all(told.events for told in tolds))
    refused = await ask(TURNS)
    failure = check_failed(refused)
    assert (failure.kind, failure.stage) == ("overloaded", Stage.ORCHESTRATOR)
    assert [type(event) for event in refused.events] == [TurnStarted, TurnFailed]
    for stage in SERVICES:
        await until_async(lambda app=APPS[stage]: len(project.cloud.plane.containers(app)) > 1)  # type: ignore[misc]
        for number in range(TURNS):
            project.points.release(f"{stage}-begin", number)
    for told in await asyncio.gather(*turns):
        check(told)


async def test_turns_go_on_while_apps_are_deployed_anew(project: AnsweringProject) -> None:
    redeploying = True
    answered: list[Told] = []

    async def talk(first: int) -> None:
        number = first
        while redeploying:
            answered.append(await ask(number))
            number += 10

    talkers = [asyncio.create_task(talk(200 + first)) for first in range(2)]
    redeployed = (Stage.TTS, Stage.ORCHESTRATOR)
    await until_async(lambda: len(answered) >= len(talkers))
    await asyncio.to_thread(project.deploy_all, *redeployed, **SETTINGS)
    redeploying = False
    await asyncio.gather(*talkers)
    assert {project.cloud.plane.app(APPS[stage]).version for stage in redeployed} == {2}
    assert len(answered) > len(talkers)
    for told in answered:
        check(told)


async def test_turns_cancelled_in_a_row_and_at_once_leave_nothing_running(project: AnsweringProject) -> None:
    async def ask_and_leave(number: int) -> None:
        project.points.order("llm-middle", number, "hold")
        told = Told(number)
        turn = asyncio.create_task(ask(number, told))
        await until_async(lambda: any(isinstance(event, TranscriptReady) for event in told.events))
        turn.cancel()
        await asyncio.wait({turn})

    for number in range(400, 405):
        await ask_and_leave(number)
    await asyncio.gather(*map(ask_and_leave, range(405, 410)))
    check(await ask(410))
    await until_async(lambda: not any(one.running_inputs for one in project.cloud.plane.containers()))


async def test_an_upload_of_5_megabytes_is_answered(project: AnsweringProject) -> None:
    number = 216_000
    audio = question(0).audio
    assert audio
    speech = resample(to_pcm(audio), 48_000).samples.copy()
    speech.resize(3 * (QUESTION_0_SAMPLES + number), refcheck=False)
    upload = sound_file(np.stack([speech, speech], axis=1), 48_000, "WAV", "FLOAT")
    assert len(upload) > 5 * 2**20
    answer = await remote("speech-to-speech", "process_audio").remote.aio(upload)
    samples = decode_audio(answer, Settings()).num_samples
    assert abs(samples - speech_samples(reply_to(number))) < 2 * 1152


async def test_a_request_of_another_version_is_answered(project: AnsweringProject) -> None:
    request = sent_by_another_version(question(500), without="temperature", mood="cheerful")
    result: TurnResult = await remote("speech-to-speech", "run_turn").remote.aio(request)
    assert (result.outcome, result.transcript) == ("completed", transcript_of(500))


async def test_a_request_beyond_its_bounds_is_refused(project: AnsweringProject) -> None:
    request = sent_by_another_version(question(501), without="max_tokens", max_tokens=10**9)
    with pytest.raises(modal.exception.DeserializationError, match="Not a valid TurnRequest: max_tokens"):
        await remote("speech-to-speech", "run_turn").remote.aio(request)
    check(await ask(502))


async def test_audio_that_is_damaged_on_its_way_is_a_failure_of_the_turn(project: AnsweringProject) -> None:
    whole = question(503)
    assert isinstance(whole.audio, Mp3Audio)
    damaged = whole.audio.model_copy(update={"mp3": whole.audio.mp3[:500] + bytes(3_000)})
    request = whole.model_copy(update={"audio": damaged})
    result: TurnResult = await remote("speech-to-speech", "run_turn").remote.aio(request)
    assert result.failure
    assert (result.failure.kind, result.failure.retryable) == ("bad_audio", False)
    check(await ask(504))


async def test_bytes_that_are_no_pickle_harm_nobody_else(
    project: AnsweringProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.points.order("llm-middle", 505, "hold")
    bystander = Told(505)
    turn = asyncio.create_task(ask(505, bystander))
    await until_async(lambda: bool(bystander.spoken))
    with monkeypatch.context() as patch:
        patch.setattr(function_utils, "_serialize_data_format", lambda *_: b"\x80\x04 no pickle")
        with pytest.raises(Exception, match=re.compile("pickle|deserializ", re.IGNORECASE)):
            await remote("speech-to-speech", "stream_turn").remote_gen.aio(question(506)).__anext__()
    project.points.release("llm-middle", 505)
    await turn
    check(bystander)
