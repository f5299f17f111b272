"""An engine in a process of its own is served like one in this process, and its end is told as an error."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from services.process.engine_process import EngineProcess
from services.selection import discover
from shared.engines import MODEL_REGISTRY, RegisteredModel
from shared.errors import BadRequest, EngineLoadFailed, Stage, StageFailed
from shared.payloads import ChatMessage, TextDelta
from shared.stage_stream import LLMOutput, StageFinished, StageItem, StageStarted
from tests.support.processes import descendants_with, is_running
from tests.support.waiting import GIVE_UP_S, until_async

pytestmark = pytest.mark.slow


def model(stage: Stage, name: str) -> RegisteredModel:
    discover(stage)
    return MODEL_REGISTRY[stage][name]


RULES = model(Stage.LLM, "rules")


@pytest.fixture
async def rules() -> AsyncIterator[EngineProcess]:
    async with EngineProcess(RULES) as process:
        await process.load()
        yield process


async def answer(process: EngineProcess, question: str) -> str:
    items = [item async for item in ask(process, question)]
    assert isinstance(items[0], StageStarted)
    assert isinstance(items[-1], StageFinished)
    return "".join(
        item.delta.text for item in items if isinstance(item, LLMOutput) and isinstance(item.delta, TextDelta)
    )


def ask(process: EngineProcess, question: str) -> AsyncIterator[StageItem]:
    message = ChatMessage(role="user", content=question)
    return process.stream([message], max_tokens=100, temperature=0.0)


def workers() -> list[psutil.Process]:
    return descendants_with("engine_process_worker")


async def test_it_answers_many_at_once_each_its_own(rules: EngineProcess) -> None:
    questions = [f"what is {n} plus {n}" for n in range(10, 20)]
    one_by_one = [await answer(rules, question) for question in questions]
    assert await asyncio.gather(*(answer(rules, question) for question in questions)) == one_by_one
    assert len(set(one_by_one)) == len(questions)


async def test_loading_returns_its_health_however_often_it_is_asked(rules: EngineProcess) -> None:
    first, second = await asyncio.gather(rules.load(), rules.load())
    assert (first.name, first.model, first.device) == ("rules", "offline rules", "cpu")
    assert second.load_s == first.load_s


async def test_a_stream_that_is_closed_early_leaves_the_engine_free(rules: EngineProcess) -> None:
    for _ in range(20):
        async with aclosing(
            rules.stream([ChatMessage(role="user", content="hi")], max_tokens=9, temperature=0)
        ) as s:
            assert isinstance(await anext(s), StageStarted)
    assert "four" in await answer(rules, "what is two plus two")


async def test_an_environment_without_the_packages_fails_the_load_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    async with EngineProcess(RULES, python=bare, environ={"PYTHONNOUSERSITE": "1"}) as process:
        with pytest.raises(EngineLoadFailed, match="ended with code 1") as failure:
            await process.load()
        assert failure.value.stage is Stage.LLM
        assert "No module named" not in failure.value.message  # it may reach an end user
        assert "No module named" in caplog.text


async def test_a_python_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(EngineLoadFailed, match="/nowhere/python"):
        async with EngineProcess(RULES, python=Path("/nowhere/python")):
            pass


async def test_a_process_that_is_killed_fails_the_calls_it_had_and_all_later_ones(
    rules: EngineProcess,
) -> None:
    os.kill(workers()[0].pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(StageFailed, match="rules was ended by SIGKILL") as failure:
            await answer(rules, "hello")
        assert (failure.value.stage, failure.value.retryable) == (Stage.LLM, True)
    assert rules.has_ended


async def test_no_process_is_left_after_the_block() -> None:
    async with EngineProcess(RULES) as process:
        await process.load()
        left = workers()
        assert left
    assert not any(map(is_running, left))


async def test_a_call_that_breaks_in_its_process_fails_at_once_and_is_logged_there(
    rules: EngineProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = ChatMessage.model_construct(role="nobody")  # type: ignore[arg-type]
    async with asyncio.timeout(GIVE_UP_S):
        with pytest.raises(StageFailed, match=r"rules: TypeError.*nonsense") as failure:
            await read(rules.stream([], nonsense=1))
        with pytest.raises(StageFailed, match=r"rules: ValueError.*no number"):
            await read(rules.stream(Unreadable()))
        with pytest.raises(BadRequest, match="Not a valid ChatMessage"):
            await read(rules.stream([nobody]))
    assert failure.value.stage is Stage.LLM
    await until_async(lambda: "A call of rules failed." in capfd.readouterr().err)


class Unreadable:
    """Can be pickled and not unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


async def read(stream: AsyncIterator[StageItem]) -> list[StageItem]:
    return [item async for item in stream]
