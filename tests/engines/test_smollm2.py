"""smollm2 on llama.cpp itself, with its real weights."""

import asyncio
import stat
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from services.llm.smollm2 import SmolLM2
from shared.errors import EngineLoadFailed, StageFailed, TooLong, WeightsMissing
from shared.payloads import ChatMessage, TokenUsage
from shared.turn import DEFAULT_SYSTEM_PROMPT
from shared.weights import PackagedFile, PackageWeights
from tests.support.replies import texts
from tests.support.waiting import until_async

STORY = "Tell me a long story about a robot."


@pytest.fixture(scope="module")
def engine() -> Iterator[SmolLM2]:
    loaded = SmolLM2()
    loaded.load()
    yield loaded
    loaded.close()


def conversation(*said: str, system: str = DEFAULT_SYSTEM_PROMPT) -> list[ChatMessage]:
    return [
        ChatMessage(role="system", content=system),
        *(
            ChatMessage(role="assistant" if index % 2 else "user", content=text)
            for index, text in enumerate(said)
        ),
    ]


async def answer(engine: SmolLM2, *said: str, max_tokens: int = 60) -> list[str]:
    """The parts in which the reply comes."""
    reply = engine.generate(conversation(*said), max_tokens=max_tokens, temperature=0.0)
    return [text async for text in texts(reply)]


async def test_a_reply_says_at_its_end_what_it_took(engine: SmolLM2) -> None:
    reply = engine.generate(conversation(STORY), max_tokens=7, temperature=0.0)
    *_, last = [one async for one in reply]
    assert isinstance(last, TokenUsage)
    assert last.output_tokens == 7
    words = f"{DEFAULT_SYSTEM_PROMPT} {STORY}".split()
    assert len(words) < last.input_tokens < 3 * len(words)


def slot(engine: SmolLM2) -> dict[str, Any]:
    """What llama.cpp says of its one slot."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket_of(engine)))) as client:
        (only,) = client.get("http://llama/slots", timeout=60).json()
    return dict(only)


def is_idle_after(seconds: float, engine: SmolLM2) -> bool:
    """llama.cpp looks once a second for whoever has hung up, but not while it is asked for its slot."""
    time.sleep(seconds)
    return not slot(engine)["is_processing"]


def socket_of(engine: SmolLM2) -> Path:
    assert engine._folder
    return engine._folder / "llama.sock"


# Replies


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("What is the capital of France?", "Paris"),
        ("What is the opposite of hot?", "cold"),
        ("How many legs does a spider have?", "8"),
        ("What is the first month of the year?", "January"),
    ],
)
async def test_it_answers_what_its_model_knows(engine: SmolLM2, question: str, fact: str) -> None:
    assert fact in "".join(await answer(engine, question))


async def test_a_reply_comes_as_it_is_written_and_ends_at_its_token_limit(engine: SmolLM2) -> None:
    parts = await answer(engine, STORY, max_tokens=12)
    assert 6 < len(parts) <= 12


async def test_a_follow_up_question_is_understood_and_only_what_is_new_is_read(engine: SmolLM2) -> None:
    first = "What is the capital of France?"
    reply = "".join(await answer(engine, first))
    messages = conversation(first, reply, "And of Italy?")
    deltas = texts(engine.generate(messages, max_tokens=60, temperature=0.0))
    begun = await anext(deltas)
    prompt = await asyncio.to_thread(slot, engine)
    assert prompt["n_prompt_tokens_cache"] > 60  # the system prompt, the question and its reply
    assert prompt["n_prompt_tokens_processed"] < 30
    assert "Rome" in begun + "".join([text async for text in deltas])


# Long conversations


async def test_the_oldest_turns_of_a_long_conversation_are_left_out(engine: SmolLM2) -> None:
    long_ago = ["My name is Ann. " * 4, "Nice to meet you, Ann."] * 40
    last = "What is the capital of France?"
    deltas = texts(engine.generate(conversation(*long_ago, last), max_tokens=60, temperature=0.0))
    begun = await anext(deltas)
    read = (await asyncio.to_thread(slot, engine))["n_prompt_tokens"]
    assert 1024 - 60 - 120 < read <= 1024 - 60 + 3  # a turn is less than 120 tokens long
    assert "Paris" in begun + "".join([text async for text in deltas])


async def test_a_question_longer_than_the_context_is_refused_with_its_length(engine: SmolLM2) -> None:
    with pytest.raises(TooLong, match=r"\d{4} tokens long.*room for 964"):
        await answer(engine, "a b " * 3000)


async def test_more_tokens_than_the_context_may_be_asked_for(engine: SmolLM2) -> None:
    assert "Paris" in "".join(await answer(engine, "What is the capital of France?", max_tokens=100_000))


# Cancellation


async def test_closing_a_reply_stops_llama_cpp(engine: SmolLM2) -> None:
    async with aclosing(engine.generate(conversation(STORY), max_tokens=500, temperature=0.0)) as reply:
        await anext(reply)
    await until_async(lambda: not slot(engine)["is_processing"])
    assert "Paris" in "".join(await answer(engine, "What is the capital of France?"))


async def test_cancelling_who_waits_for_a_reply_stops_llama_cpp_in_the_middle_of_the_prompt(
    engine: SmolLM2,
) -> None:
    waiting = asyncio.create_task(answer(engine, "the quick brown fox " * 200))
    await until_async(lambda: slot(engine)["n_prompt_tokens_processed"] >= 128)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await until_async(lambda: is_idle_after(2, engine))
    assert slot(engine)["n_prompt_tokens"] < 800


# Its life


def test_it_listens_on_a_socket_that_no_other_user_can_reach_and_on_no_port(engine: SmolLM2) -> None:
    assert stat.S_ISSOCK(socket_of(engine).stat().st_mode)
    assert stat.S_IMODE(socket_of(engine).parent.stat().st_mode) == 0o700
    listening = [one for one in psutil.Process().net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert listening == []


def test_loading_reads_the_default_system_prompt() -> None:
    other = SmolLM2()
    other.load()
    assert slot(other)["n_prompt_tokens"] > 40
    other.close()


async def test_closing_it_in_mid_reply_ends_the_reply_and_leaves_nothing_behind() -> None:
    engine = SmolLM2()
    await asyncio.to_thread(engine.load)
    folder = socket_of(engine).parent
    reply = engine.generate(conversation(STORY), max_tokens=500, temperature=0.0)
    await anext(reply)
    await asyncio.to_thread(engine.close)
    with pytest.raises(StageFailed):
        async for _ in reply:
            pass
    assert not folder.exists()


async def test_an_engine_that_is_not_loaded_says_so() -> None:
    with pytest.raises(StageFailed, match="not loaded"):
        await answer(SmolLM2(), "Hello?")


def test_weights_that_are_not_there_are_an_error_that_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing, match="Run: s2s fetch-weights"):
        SmolLM2().load()


def test_weights_that_are_no_model_fail_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_text("no model")
    file = PackagedFile(name="model.gguf", sha256="0" * 64, parts=("model.gguf",))
    monkeypatch.setattr(
        "services.llm.smollm2.SMOLLM2", PackageWeights(requirements=("some-model==1",), files=(file,))
    )
    monkeypatch.setattr("services.llm.smollm2.weights_folder", lambda _: tmp_path)
    with pytest.raises(EngineLoadFailed, match=r"cannot load .*model\.gguf"):
        SmolLM2().load()
