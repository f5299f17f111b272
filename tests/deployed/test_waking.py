"""Services that have scaled to zero: an accepted turn wakes them, once, and a refused one does not.

Their telemetry is on, so its tests are here too: what it asks of Modal, and what a collector gets.
"""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from client.targets import FOUR_APPS, App
from orchestrator.modal_stages import ModalStages
from services.on_modal.image_locks import TELEMETRY_LOCK
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.payloads import ChatMessage
from shared.settings import Settings
from shared.stage_stream import StageStarted, Transcript
from shared.telemetry import TURN_DURATION
from shared.turn import TurnFailed, TurnRequest
from tests.support.answering_deployment import AnsweringProject, answering_project, ask_all, check, question
from tests.support.answering_engines import transcript_of
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import remote
from tests.support.otlp_collector import Collector, KeptSpan, collecting, telemetry_to
from tests.support.s2s_command import s2s
from tests.support.waiting import GIVE_UP_S, until_async

HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def telemetry_variables(collector: Collector) -> dict[str, str]:
    """What is sent before a container's end would be sent after an hour."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
        HEADERS: "api-key=of-the-deployer",
    }


@pytest.fixture(scope="module")
def project(
    cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, telemetry_variables: dict[str, str]
) -> AnsweringProject:
    cloud.plane.create_secret("otel-exporter-otlp-headers", {HEADERS: "api-key=of-the-containers"})
    made = answering_project(tmp_path_factory.mktemp("project"), cloud)
    made.deploy_all(**telemetry_variables)
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


async def test_a_service_that_was_woken_in_vain_is_warm_for_a_later_turn(
    project: AnsweringProject, telemetry_variables: dict[str, str]
) -> None:
    project.deploy(Stage.LLM, LLM_MODEL="answering", **telemetry_variables)  # its container is a new one now
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


@pytest.mark.parametrize("app", FOUR_APPS)
def test_an_app_is_deployed_with_the_telemetry_of_the_deployer_and_headers_from_a_secret(
    project: AnsweringProject, telemetry_variables: dict[str, str], app: App
) -> None:
    (view,) = {
        id(one.image): one for one in project.cloud.plane.app(app.modal_name).functions.values()
    }.values()
    variables = {name: value for name, value in view.image.env.items() if name.startswith("OTEL_")}
    assert variables == {name: value for name, value in telemetry_variables.items() if name != HEADERS}
    assert view.secrets == ("otel-exporter-otlp-headers",)
    assert [one[-1].rsplit("/", 1)[-1] for one in view.image.pip_installs][-1] == TELEMETRY_LOCK.name


async def test_a_turn_is_one_trace_through_all_processes_and_an_end_sends_what_is_left(
    project: AnsweringProject, collector: Collector
) -> None:
    with telemetry_to(collector, "client"):
        (told,) = await ask_all([9])
    check(told)
    assert (await asyncio.to_thread(s2s, "stop", "--yes")).exit_code == 0
    trace_id = collector.one("call turn").trace_id

    def spans() -> dict[str, KeptSpan]:
        return {one.name: one for one in collector.spans if one.trace_id == trace_id}

    await until_async(lambda: len({one.service for one in spans().values()}) == 5)
    found = spans()
    for path in (
        ["call turn", "turn", "speech_to_text answering ears", "serve asr answering ears"],
        ["call turn", "turn", "chat answering mind", "serve llm answering mind"],
        ["call turn", "turn", "text_to_speech answering voice", "serve tts answering voice"],
    ):
        ids = [found[name].span_id for name in path]
        assert [found[name].parent_id for name in path] == ["", *ids[:-1]]
        services = [found[name].service for name in path]
        assert services == [
            "client",
            "speech-to-speech",
            "speech-to-speech",
            f"speech-to-speech-{path[3][6:9]}",
        ]
        assert [found[name].kind for name in path] == ["client", "server", "client", "server"]
    assert {headers.get("api-key") for _, headers, _ in collector.requests} == {None, "of-the-containers"}
    # They come by a request of their own, which a container sends beside that of its spans.
    await until_async(lambda: "completed" in outcomes(collector))


def outcomes(collector: Collector) -> set[str]:
    """Of the turns that were measured."""
    turns = (one for one in collector.metrics if one.name == TURN_DURATION.name)
    return {one.attributes["s2s.outcome"] for one in turns}
