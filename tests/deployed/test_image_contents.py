"""What an image forgets is found out when its container starts, and told by name."""

import pytest

from orchestrator.modal_stages import ModalStages
from shared.errors import EngineLoadFailed, SpeechError, Stage
from shared.payloads import ChatMessage
from shared.settings import Settings
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in

# hypothesis is installed where the tests run, and in no image.
LATE = """
from shared.engines import EngineSpec, LLMModel, register_model

@register_model("llm", "late", EngineSpec(summary="Forgets its package.", licence="MIT"))
class Late(LLMModel):
    model_name = "late"
    def load(self):
        import hypothesis
    async def generate(self, messages, *, tools=(), max_tokens, temperature):
        yield "never"
"""
EARLY = "import hypothesis\n" + LATE.replace("late", "early").replace("Late", "Early")


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_in(tmp_path_factory.mktemp("project"), cloud)


async def failure_of(project: Project) -> SpeechError:
    reply = ModalStages(Settings()).generate(
        [ChatMessage(role="user", content="Hello")], max_tokens=10, temperature=0.0
    )
    with pytest.raises(SpeechError) as failure:
        async for _ in reply:
            pass
    return failure.value


async def test_a_package_that_the_engine_forgot_to_name(project: Project) -> None:
    project.add_engine(Stage.LLM, "late", LATE)
    project.deploy(Stage.LLM, LLM_MODEL="late")
    failure = await failure_of(project)
    assert isinstance(failure, EngineLoadFailed)
    assert failure.stage is Stage.LLM
    assert "No module named 'hypothesis'" in failure.message


async def test_a_package_that_is_imported_with_the_module(project: Project) -> None:
    project.add_engine(Stage.LLM, "early", EARLY)
    project.deploy(Stage.LLM, LLM_MODEL="early")
    failure = await failure_of(project)
    assert "services.llm.early" in failure.message
    assert "No module named 'hypothesis'" in failure.message
    assert not failure.retryable


async def test_sources_that_are_not_mounted(project: Project) -> None:
    images = project.folder / "services" / "on_modal" / "images.py"
    both, one = 'add_local_python_source("shared", "services")', 'add_local_python_source("services")'
    images.write_text(images.read_text().replace(both, one))
    project.deploy(Stage.LLM, LLM_MODEL="rules")
    failure = await failure_of(project)
    assert "No module named 'shared'" in failure.message
