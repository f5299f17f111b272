"""What a container tells its engine, and what happens to a container whose engine breaks."""

import modal
import pytest

from shared.errors import Stage, StageFailed
from shared.payloads import ChatMessage, TextDelta
from shared.stage_stream import LLMOutput
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import project_in
from tests.support.waiting import until

APP = "speech-to-speech-llm"
FRAGILE = """
import os
from shared.engines import EngineSpec, LLMModel, register_model
from shared.errors import Stage, StageFailed
from shared.payloads import TextDelta

@register_model("llm", "fragile", EngineSpec(
    summary="Tells its life until it breaks.", licence="MIT", memory_snapshot=True, concurrent_inputs=4,
))
class Fragile(LLMModel):
    model_name = "Fragile"
    broken = False

    def __init__(self):
        self.life = [str(os.getpid())]
    def load(self):
        self.life.append("loaded")
    def before_snapshot(self):
        self.life.append("before snapshot")
    def restored(self):
        self.life.append("restored")
    def is_broken(self):
        return self.broken

    async def generate(self, messages, *, tools=(), max_tokens, temperature):
        yield TextDelta(text=", ".join(self.life))
        self.broken = self.broken or messages[-1].content == "Break!"
        if self.broken or messages[-1].content == "Fail!":
            raise StageFailed("It went wrong.", Stage.LLM)
"""


@pytest.fixture(scope="module", autouse=True)
def _deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    project = project_in(tmp_path_factory.mktemp("project"), cloud)
    project.add_engine(Stage.LLM, "fragile", FRAGILE)
    project.deploy(Stage.LLM, LLM_MODEL="fragile")


def life(said: str = "Hello!") -> list[str]:
    service = modal.Cls.from_name(APP, "LLM")()
    messages = [ChatMessage(role="user", content=said)]
    items = service.generate.remote_gen(messages, max_tokens=10, temperature=0.0)
    deltas = [item.delta for item in items if isinstance(item, LLMOutput)]
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)).split(", ")


def test_an_engine_is_told_of_the_snapshot_after_it_is_loaded_and_of_being_restored() -> None:
    assert life()[1:] == ["loaded", "before snapshot", "restored"]


def test_a_container_whose_engine_breaks_is_replaced(cloud: Cloud) -> None:
    first = life()[0]
    with pytest.raises(StageFailed):
        life("Fail!")
    assert life()[0] == first  # a failure alone is no reason
    with pytest.raises(StageFailed, match="It went wrong"):
        life("Break!")
    assert life()[0] != first
    until(lambda: len(cloud.plane.containers(APP)) == 1)
