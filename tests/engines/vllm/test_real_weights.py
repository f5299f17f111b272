"""LLM_MODEL=vllm with the weights of a real language model, to its violent end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.llm.vllm import AnyOnVllm
from shared.errors import StageFailed
from shared.payloads import ChatMessage
from shared.settings import settings
from shared.turn import DEFAULT_SYSTEM_PROMPT
from tests.engines.built_models import built_model
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.real_llm import build_smollm2
from tests.engines.vllm.loaded_vllm import Loaded, gone
from tests.support.replies import texts
from tests.support.waiting import until_async


@pytest.fixture(scope="module")
def smollm2(cache: Path) -> Iterator[Loaded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2S_LLM_REPOSITORY", "HuggingFaceTB/SmolLM2-135M-Instruct")
        settings.cache_clear()
        put_into_hub_cache(cache, AnyOnVllm.weights(), built_model("smollm2", build_smollm2))
        loaded = Loaded(AnyOnVllm())
        yield loaded
        loaded.engine.close()
    settings.cache_clear()


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("What is the capital of France?", "Paris"),
        ("What is the opposite of hot?", "cold"),
        ("How many legs does a spider have?", "8"),
        ("What is the first month of the year?", "January"),
    ],
)
async def test_it_answers_what_its_model_knows(smollm2: Loaded, question: str, fact: str) -> None:
    assert fact in await smollm2.answer(question, system=DEFAULT_SYSTEM_PROMPT)


async def test_a_question_is_understood_from_those_before_it(smollm2: Loaded) -> None:
    said = ("What is the capital of France?", "The capital of France is Paris.", "And of Italy?")
    assert "Rome" in await smollm2.answer(*said, system=DEFAULT_SYSTEM_PROMPT)


async def test_vllm_killed_in_mid_reply_is_told_with_its_last_lines_and_leaves_nothing_behind(
    smollm2: Loaded,
) -> None:
    """The last test of this engine."""
    assert not smollm2.engine.is_broken()
    messages = [ChatMessage(role="user", content="Tell me a long story about a robot.")]
    reply = texts(smollm2.engine.generate(messages, max_tokens=2000, temperature=0.0))
    await anext(reply)
    smollm2.processes[0].kill()
    with pytest.raises(
        StageFailed, match="vLLM is lost: it was ended by SIGKILL, and the log has its last lines"
    ):
        async for _ in reply:
            pass
    assert smollm2.engine.is_broken()
    with pytest.raises(StageFailed, match="vLLM is lost"):
        await smollm2.answer("Hello?")
    await until_async(lambda: gone(smollm2.processes))
