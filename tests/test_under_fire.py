"""Containers die, are taken away, fail to start and hang, at every point of a turn.

What was not spoken is done anew; what was spoken is neither repeated nor joined to another attempt.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.deployment import APPS
from shared.errors import Stage
from shared.turn import SpeechChunk
from tests.answering_deployment import (
    MODELS,
    AnsweringProject,
    Told,
    answering_project,
    ask,
    check,
    check_failed,
)
from tests.control_plane_programs import Cloud

SETTINGS = {
    **{f"S2S_{stage.upper()}_MIN_CONTAINERS": "2" for stage in (Stage.ASR, Stage.LLM, Stage.TTS)},
    **{f"S2S_{stage.upper()}_TIMEOUT_S": "4" for stage in (Stage.ASR, Stage.LLM, Stage.TTS)},
    "S2S_ENGINE_STUCK_AFTER_S": "0.5",
}
BEFORE_SPEECH = [
    (Stage.ASR, "asr-begin"),
    (Stage.LLM, "llm-begin"),
    (Stage.TTS, "tts-begin"),
    (Stage.ORCHESTRATOR, "asr-begin"),
    (Stage.ORCHESTRATOR, "llm-begin"),
    (Stage.ORCHESTRATOR, "tts-begin"),
]
AMID_SPEECH = [
    (Stage.LLM, "llm-middle"),
    (Stage.TTS, "tts-middle"),
    (Stage.TTS, "tts-end"),
    (Stage.ORCHESTRATOR, "tts-middle"),
]
LOSSES = ["kill", "preempt"]


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AnsweringProject:
    made = answering_project(tmp_path_factory.mktemp("project"), cloud)
    made.deploy_all(**SETTINGS)
    return made


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """A question that no other test asks; the next one is free too."""
    return 2 * request.session.items.index(request.node)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def lose(project: AnsweringProject, stage: Stage, loss: str) -> None:
    """Lose the containers of the stage that are at work."""
    plane = project.cloud.plane
    for container in plane.containers(APPS[stage]):
        if container.running_inputs:
            getattr(plane, loss)(container.id)


async def turn_that_loses(
    project: AnsweringProject, number: int, stage: Stage, point: str, loss: str, *, after_speech: bool
) -> Told:
    """A turn that is held at a point of its work while the stage loses its containers."""
    project.points.order(point, number, "hold")
    told = Told(number)
    turn = asyncio.create_task(ask(number, told))
    await until(lambda: bool(project.points.times_reached(point, number)))
    if after_speech:
        await until(lambda: any(isinstance(event, SpeechChunk) for event in told.events))
    lose(project, stage, loss)
    project.points.release(point, number)
    return await turn


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("stage", "point"), BEFORE_SPEECH)
async def test_a_container_lost_before_anything_was_spoken_costs_only_time(
    project: AnsweringProject, number: int, stage: Stage, point: str, loss: str
) -> None:
    check(await turn_that_loses(project, number, stage, point, loss, after_speech=False))
    assert project.points.times_reached(point, number) > 1


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("stage", "point"), AMID_SPEECH)
async def test_a_container_lost_amid_speech_ends_the_turn_and_no_two_attempts_are_joined(
    project: AnsweringProject, number: int, stage: Stage, point: str, loss: str
) -> None:
    told = await turn_that_loses(project, number, stage, point, loss, after_speech=True)
    failure = check_failed(told)
    assert (failure.kind, failure.stage) == ("attempt_lost", stage)
    check(await ask(number + 1))
