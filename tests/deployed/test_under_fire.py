"""Containers die, are taken away, fail to start and hang, at every point of a turn.

What was not spoken is done anew; what was spoken is neither repeated nor joined to another attempt.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest
from grpclib import GRPCError

from orchestrator.modal_stages import ModalStages
from orchestrator.pipeline import Pipeline
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import SpeechChunk
from tests.support.answering_deployment import (
    AnsweringProject,
    Told,
    answering_project,
    ask,
    check,
    check_failed,
    question,
)
from tests.support.control_plane_programs import Cloud
from tests.support.waiting import until, until_async

SETTINGS = {
    **{f"S2S_{stage.upper()}_MIN_CONTAINERS": "1" for stage in (Stage.ASR, Stage.LLM, Stage.TTS)},
    "S2S_ENGINE_STUCK_AFTER_S": "2",
}
BEFORE_SPEECH = [
    ("kill", Stage.ASR, "asr-begin"),
    ("kill", Stage.ORCHESTRATOR, "tts-begin"),
    ("preempt", Stage.TTS, "tts-begin"),
    ("preempt", Stage.ORCHESTRATOR, "llm-begin"),
]
AMID_SPEECH = [
    ("kill", Stage.TTS, "tts-middle"),
    ("kill", Stage.ORCHESTRATOR, "tts-middle"),
    ("preempt", Stage.LLM, "llm-middle"),
    ("preempt", Stage.ORCHESTRATOR, "tts-middle"),
]
NUMBERS = count(step=2)
SERVICES = [Stage.ASR, Stage.LLM, Stage.TTS]


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AnsweringProject:
    made = answering_project(tmp_path_factory.mktemp("project"), cloud)
    made.deploy_all(**SETTINGS)
    return made


@pytest.fixture
def number() -> int:
    """A question that no other test asks; the next one is free too."""
    return next(NUMBERS)


async def lose(project: AnsweringProject, stage: Stage, loss: str) -> None:
    """Lose the containers of the stage that are at work; none of them is left afterwards."""
    plane = project.cloud.plane
    lost = {container.id for container in plane.containers(APPS[stage]) if container.running_inputs}
    for container_id in lost:
        getattr(plane, loss)(container_id)
    await until_async(lambda: not lost & {container.id for container in plane.containers()})


async def turn_that_loses(
    project: AnsweringProject, number: int, stage: Stage, point: str, loss: str, *, after_speech: bool
) -> Told:
    """A turn that is held at a point of its work while the stage loses its containers."""
    project.points.order(point, number, "hold")
    told = Told(number)
    turn = asyncio.create_task(ask(number, told))
    await until_async(lambda: bool(project.points.times_reached(point, number)))
    if after_speech:
        await until_async(lambda: any(isinstance(event, SpeechChunk) for event in told.events))
    await lose(project, stage, loss)
    project.points.release(point, number)
    return await turn


@pytest.mark.parametrize(("loss", "stage", "point"), BEFORE_SPEECH)
async def test_a_container_lost_before_anything_was_spoken_costs_only_time(
    project: AnsweringProject, number: int, loss: str, stage: Stage, point: str
) -> None:
    check(await turn_that_loses(project, number, stage, point, loss, after_speech=False))
    assert project.points.times_reached(point, number) > 1


@pytest.mark.parametrize(("loss", "stage", "point"), AMID_SPEECH)
async def test_a_container_lost_amid_speech_ends_the_turn_and_no_two_attempts_are_joined(
    project: AnsweringProject, number: int, loss: str, stage: Stage, point: str
) -> None:
    told = await turn_that_loses(project, number, stage, point, loss, after_speech=True)
    failure = check_failed(told)
    assert (failure.kind, failure.stage) == ("attempt_lost", stage), failure.message
    check(await ask(number + 1))


def replaced(project: AnsweringProject, stage: Stage, unready: bool = False) -> None:
    """Take the stage's containers away, or those that are not ready yet, and wait until they are gone."""
    plane = project.cloud.plane
    old = {one.id for one in plane.containers(APPS[stage]) if not (unready and one.ready)}
    for container_id in old:
        with suppress(GRPCError):  # it has ended meanwhile
            plane.preempt(container_id)
    until(lambda: not {one.id for one in plane.containers(APPS[stage])} & old)


@contextmanager
def new_containers_told_to(project: AnsweringProject, order: str, *stages: Stage) -> Iterator[None]:
    """The stages have none but new containers, and each carries out an order when it loads its engine."""
    for stage in stages:
        project.points.order(f"{stage}-load", 0, order)
        replaced(project, stage)
    try:
        yield
    finally:
        for stage in stages:
            project.points.release(f"{stage}-load", 0)
            replaced(project, stage, unready=True)


async def test_a_container_lost_before_it_was_ready_costs_only_time(
    project: AnsweringProject, number: int
) -> None:
    with new_containers_told_to(project, "hold", Stage.TTS):
        loaded = project.points.times_reached("tts-load", 0)
        turn = asyncio.create_task(ask(number))
        await until_async(lambda: bool(project.points.times_reached("llm-end", number)))
        await until_async(lambda: project.points.times_reached("tts-load", 0) > loaded)
        unready = [one.id for one in project.cloud.plane.containers(APPS[Stage.TTS]) if not one.ready]
        assert unready
        for container_id in unready:
            with suppress(GRPCError):  # it was one of the old ones, which has ended meanwhile
                project.cloud.plane.kill(container_id)
    check(await turn)


async def test_services_that_start_slowly_are_told_as_waited_for_and_fail_nothing(
    project: AnsweringProject, number: int
) -> None:
    with new_containers_told_to(project, "hold", *SERVICES):
        told = Told(number)
        turn = asyncio.create_task(ask(number, told))
        for stage in SERVICES:
            await until_async(lambda stage=stage: stage in told.waited_for)  # type: ignore[misc]
            project.points.release(f"{stage}-load", 0)
        check(await turn)


async def test_an_engine_that_cannot_be_loaded_is_a_failure_that_says_why(
    project: AnsweringProject, number: int
) -> None:
    with new_containers_told_to(project, "always fail", Stage.TTS):
        failure = (await ask(number)).failure
    assert failure
    assert (failure.kind, failure.stage, failure.retryable) == ("engine_load_failed", Stage.TTS, False)
    assert "told to fail at tts-load" in failure.message
    check(await ask(number + 1))


async def test_a_service_whose_containers_crash_at_their_start_is_a_failure_of_that_stage(
    project: AnsweringProject, number: int
) -> None:
    with new_containers_told_to(project, "always die", Stage.LLM):
        failure = (await ask(number)).failure
    assert failure
    assert (failure.kind, failure.stage) == ("stage_failed", Stage.LLM)
    assert "crash" in failure.message
    check(await ask(number + 1))


async def ask_impatiently(number: int, stage: Stage) -> Told:
    """Ask the services without waiting long for this one."""
    settings, told = Settings(**{f"{stage}_timeout_s": 3.0}), Told(number)  # type: ignore[arg-type]
    async with ModalStages(settings) as stages:
        async for event in Pipeline(stages, settings).stream(question(number)):
            told.events.append(event)
    return told


async def test_an_engine_that_hangs_is_a_time_out_of_its_stage_and_the_next_turn_is_answered(
    project: AnsweringProject, number: int
) -> None:
    turns = {}
    for of_stage, stage in enumerate(reversed(SERVICES)):
        point, own = f"{stage}-begin", 1_000 * (of_stage + 1) + number
        project.points.order(point, own, "hold")
        turns[stage] = asyncio.create_task(ask_impatiently(own, stage))
        await until_async(lambda point=point, own=own: bool(project.points.times_reached(point, own)))  # type: ignore[misc]
    for stage, turn in turns.items():
        failure = check_failed(await turn)
        assert failure.stage is stage
        # The second attempt may have come to the container that then ended because of the first.
        assert failure.kind == "stage_timed_out" or (failure.kind == "attempt_lost" and stage != Stage.LLM)
    check(await ask(number))


async def test_a_container_that_dies_in_every_attempt_is_a_failure_that_can_be_tried_again(
    project: AnsweringProject, number: int
) -> None:
    project.points.order("tts-begin", number, "always die")
    failure = check_failed(await ask(number))
    assert (failure.kind, failure.stage) == ("attempt_lost", Stage.TTS), failure.message
    project.points.release("tts-begin", number)
    check(await ask(number))


async def test_an_engine_that_fails_once_is_asked_again(project: AnsweringProject, number: int) -> None:
    for point in ("asr-begin", "llm-begin", "tts-begin"):
        project.points.order(point, number, "fail")
    check(await ask(number))
