"""A whole turn in one container: NeMo, vLLM and Chatterbox themselves, each in an environment of its own."""

from collections.abc import Iterator
from typing import Any

import modal
import pytest

from local_cloud import ControlPlane
from shared.deployment import MONOLITH_APP, MONOLITH_CLASS, Health
from tests.engines.tiny_deployment import SETTINGS, plane_without_gpu, tiny_weights
from tests.engines.tiny_turns import check_answered, question
from tests.support.answering_deployment import Told
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with plane_without_gpu() as plane:
        yield plane


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The monolith, deployed by the project's own command, which fetches the weights first."""
    project = project_in(tmp_path_factory.mktemp("project"), cloud)
    with tiny_weights() as hub:
        project.s2s("deploy", "monolith", fails=False, S2S_HUB_URL=hub.url, **SETTINGS)
    return project


def monolith() -> Any:
    return modal.Cls.from_name(MONOLITH_APP, MONOLITH_CLASS)()


async def test_what_is_said_is_heard_answered_and_spoken_by_one_container(deployed: Project) -> None:
    told = Told(0)
    async for event in monolith().stream_turn.remote_gen.aio(question()):
        told.events.append(event)
    check_answered(told)
    assert [one.app for one in deployed.cloud.plane.containers()] == [MONOLITH_APP]


async def test_its_engines_are_the_real_libraries(deployed: Project) -> None:
    health: list[Health] = await monolith().warm.remote.aio()
    assert [one.name for one in health] == ["nemo", "phi3", "chatterbox"]
    versions = {name: version for one in health for name, version in one.versions.items()}
    assert versions.keys() >= {"nemo_toolkit", "vllm", "chatterbox-tts"}
    assert "not installed" not in versions.values()
