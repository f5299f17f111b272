"""Whole turns through the deployed apps with NeMo, vLLM and Chatterbox themselves, on tiny models: what is
said in the tone language is heard, answered and spoken."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from local_cloud import ControlPlane
from local_cloud.events import Event, Kind
from shared.deployment import APPS, Health
from shared.errors import Stage
from shared.turn import TurnCompleted
from tests.engines.tiny_deployment import SETTINGS, plane_without_gpu, tiny_weights
from tests.engines.tiny_llm import ENDLESS, ENDLESS_IN_TONES
from tests.engines.tiny_turns import check_answered, heard, question
from tests.engines.vllm_metrics import vllm_metric, vllm_socket_under
from tests.support.answering_deployment import Told, play
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in, remote
from tests.support.waiting import until_async

ENGINE_STAGES = (Stage.ASR, Stage.LLM, Stage.TTS)
GIVE_UP_S = 120.0


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with plane_without_gpu() as plane:
        yield plane


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The four apps, deployed by the project's own command, which fetches the weights first."""
    project = project_in(tmp_path_factory.mktemp("project"), cloud)
    with tiny_weights() as hub:
        project.s2s("deploy", fails=False, S2S_HUB_URL=hub.url, **SETTINGS)
    return project


@dataclass(frozen=True)
class Cold:
    """The first turn of a deployment, and what happened meanwhile."""

    told: Told
    events: list[Event]


@pytest.fixture(scope="module")
def cold(deployed: Project) -> Cold:
    with deployed.events(Kind.SNAPSHOT, Kind.READY, Kind.CRASHED) as events:
        return Cold(asyncio.run(play(question(), Told(0))), events)


def test_what_is_said_is_heard_answered_and_spoken(cold: Cold) -> None:
    check_answered(cold.told)
    end = cold.told.events[-1]
    assert isinstance(end, TurnCompleted)
    assert (end.models.asr, end.models.llm, end.models.tts) == (
        "nemotron-speech-streaming-en-0.6b",
        "Phi-3-mini-4k-instruct",
        "Chatterbox Turbo",
    )


def test_a_cold_start_is_told_and_every_engine_goes_through_its_snapshot(cold: Cold) -> None:
    assert Stage.ASR in cold.told.waited_for  # the others may have started by the time they are needed
    assert [event.text for event in cold.events if event.kind is Kind.CRASHED] == []
    for stage in ENGINE_STAGES:
        kinds = [event.kind for event in cold.events if event.app == APPS[stage]]
        assert kinds == [Kind.SNAPSHOT, Kind.READY]


async def test_the_next_turn_is_warm_and_its_time_is_all_accounted_for(cold: Cold, deployed: Project) -> None:
    containers = containers_of(deployed)
    told = await play(question(), Told(1))
    check_answered(told)
    assert containers_of(deployed) == containers
    end = told.events[-1]
    assert isinstance(end, TurnCompleted)
    ledger = end.ledger
    assert sum(span.duration_us for span in ledger.spans) == ledger.total_us
    assert ledger.time_to_first_audio_us
    assert {span.stage for span in ledger.spans} >= set(ENGINE_STAGES)
    chunks = len({chunk.index for chunk in told.spoken})
    assert {one.stage: one.calls for one in ledger.busy} == {Stage.ASR: 1, Stage.LLM: 1, Stage.TTS: chunks}


def containers_of(project: Project) -> set[str]:
    return {one.id for stage in ENGINE_STAGES for one in project.cloud.plane.containers(APPS[stage])}


async def test_a_turn_that_is_cancelled_in_mid_reply_is_aborted_in_vllm(
    cold: Cold, deployed: Project
) -> None:
    (container,) = deployed.cloud.plane.containers(APPS[Stage.LLM])
    assert container.pid
    socket = vllm_socket_under(container.pid)

    def counted(name: str, **labels: str) -> float:
        return vllm_metric(socket, name, **labels)

    before = counted("generation_tokens_total")
    told = Told(2)
    turn = asyncio.create_task(play(question(ENDLESS_IN_TONES, max_tokens=3000), told))
    await until_async(lambda: bool(heard(told)) and counted("generation_tokens_total") > before, GIVE_UP_S)
    turn.cancel()
    with suppress(asyncio.CancelledError):
        await turn
    await until_async(lambda: counted("num_requests_running") == 0, GIVE_UP_S)
    assert counted("generation_tokens_total") - before < 3000
    assert heard(told) == [ENDLESS_IN_TONES]
    assert all(ENDLESS[1].startswith(chunk.text[:40]) for chunk in told.spoken)
    check_answered(await play(question(), Told(3)))


def test_the_engines_tell_that_they_are_the_real_libraries(cold: Cold) -> None:
    health: list[Health] = remote(APPS[Stage.ORCHESTRATOR], "warm").remote()
    assert [one.name for one in health] == ["nemo", "phi3", "chatterbox"]
    versions = {name: version for one in health for name, version in one.versions.items()}
    assert versions.keys() >= {"nemo_toolkit", "vllm", "chatterbox-tts"}
    assert "not installed" not in versions.values()
