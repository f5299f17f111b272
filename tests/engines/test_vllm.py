"""vllm, phi3 and llama on the real vLLM, with tiny models of the same architectures."""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from services.llm.vllm import VLLM_PACKAGES, AnyOnVllm, Llama, Phi3, VllmLLM, vllm_flags
from shared.errors import EngineLoadFailed, SpeechError, StageFailed, StageTimedOut, TooLong, WeightsMissing
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool, ToolCall
from shared.settings import Settings, settings
from tests.engines.built_models import built_model
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.loopback_only import loopback_only, refuses_strangers
from tests.engines.tiny_llm import (
    DIALOGUES,
    ENDLESS,
    SYSTEM_PROMPT,
    WEATHER_ANSWER,
    WEATHER_QUESTION,
    WEATHER_RESULT,
    build_llama,
    build_phi3,
)
from tests.engines.vllm_metrics import vllm_metric
from tests.engines.vllm_on_cpu import ENVIRON, FLAGS
from tests.support.replies import texts
from tests.support.waiting import until, until_async

BUILDERS: dict[type[VllmLLM], Callable[[Path], None]] = {
    Phi3: build_phi3,
    Llama: build_llama,
    AnyOnVllm: build_llama,
}
CHOSEN = {"S2S_LLM_REPOSITORY": "somebody/tiny-model", "S2S_LLM_REVISION": "v1"}
"""What LLM_MODEL=vllm serves."""

WEATHER = Tool(
    name="weather",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
)


@pytest.fixture(scope="module", autouse=True)
def _environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    cache = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRON, "S2S_VLLM_FLAGS": FLAGS, **CHOSEN}.items():
            patch.setenv(name, value)
        use_cache(cache, patch)
        settings.cache_clear()
        for engine, build in BUILDERS.items():
            weights = engine.weights()
            put_into_hub_cache(cache, weights, built_model(build.__name__, build))
        yield
    settings.cache_clear()


def use_cache(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Have weights looked for in this folder, here and in programs that are started."""
    import huggingface_hub.constants

    patch.setenv("HF_HUB_CACHE", str(folder))
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))


@pytest.fixture(scope="module")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Loaded"]:
    """Phi3, loaded where nothing but this machine can be reached."""
    with loopback_only(tmp_path_factory.mktemp("loopback")) as tried:
        loaded = Loaded(Phi3(), tried)
        yield loaded
        loaded.engine.close()


@pytest.fixture(scope="module")
def chosen() -> Iterator["Loaded"]:
    """The model that the settings name, with tools, and little time to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2S_LLM_TIMEOUT_S", "10")
        patch.setenv("S2S_LLM_CONTEXT_LENGTH", "1024")
        patch.setenv("S2S_LLM_TOOL_PARSER", "llama3_json")
        settings.cache_clear()
        engine = AnyOnVllm()
    settings.cache_clear()
    yield Loaded(engine)
    engine.close()


class Loaded:
    """A loaded engine, and the processes that it started."""

    def __init__(self, engine: VllmLLM, foreign_addresses: Path | None = None) -> None:
        before = set(psutil.Process().children(recursive=True))
        engine.load()
        self.engine = engine
        self.foreign_addresses = foreign_addresses
        self.processes = [one for one in psutil.Process().children(recursive=True) if one not in before]

    async def answer(self, *said: str, system: str | None = None, max_tokens: int = 60) -> str:
        messages = [ChatMessage(role="system", content=system)] if system else []
        messages += [
            ChatMessage(role="assistant" if index % 2 else "user", content=text)
            for index, text in enumerate(said)
        ]
        reply = self.engine.generate(messages, max_tokens=max_tokens, temperature=0.0)
        return "".join([text async for text in texts(reply)])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of vLLM's own counter over its labels."""
        assert self.engine._server
        return vllm_metric(self.engine._server.socket, name, **labels)


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=0)
    return all(is_zombie(one) for one in alive)


def is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended and only its parent does not know yet."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


# What it answers


@pytest.mark.parametrize("question", DIALOGUES)
async def test_phi3_answers_what_its_model_knows(phi3: Loaded, question: str) -> None:
    assert await phi3.answer(question) == DIALOGUES[question]


async def test_the_system_prompt_reaches_the_model(phi3: Loaded) -> None:
    before = phi3.metric("prompt_tokens_total")
    await phi3.answer("Goodbye.")
    without = phi3.metric("prompt_tokens_total") - before
    assert await phi3.answer("Goodbye.", system=SYSTEM_PROMPT) == DIALOGUES["Goodbye."]
    assert phi3.metric("prompt_tokens_total") - before > 2 * without


async def test_a_reply_comes_as_it_is_written(phi3: Loaded) -> None:
    messages = [ChatMessage(role="user", content="Tell me a story.")]
    reply = phi3.engine.generate(messages, max_tokens=60, temperature=0.0)
    parts = [text async for text in texts(reply)]
    assert len(parts) > 5
    assert "".join(parts) == DIALOGUES["Tell me a story."]


async def test_a_reply_ends_at_its_token_limit(phi3: Loaded) -> None:
    reply = await phi3.answer("Tell me a story.", max_tokens=5)
    assert reply
    assert DIALOGUES["Tell me a story."].startswith(reply)
    assert len(reply) < 40


async def test_concurrent_replies_are_worked_on_together_and_not_mixed_up(phi3: Loaded) -> None:
    questions = [*DIALOGUES] * 4
    singing = asyncio.create_task(phi3.answer(ENDLESS[0], max_tokens=2000))
    await until_async(lambda: phi3.metric("num_requests_running") == 1)
    answers = await asyncio.gather(*(phi3.answer(question) for question in questions))
    assert not singing.done()  # they did not wait for it
    singing.cancel()
    await asyncio.wait([singing])
    assert answers == [DIALOGUES[question] for question in questions]


# Cancellation


async def test_closing_a_reply_aborts_it_in_vllm(phi3: Loaded) -> None:
    before = phi3.metric("generation_tokens_total")
    messages = [ChatMessage(role="user", content=ENDLESS[0])]
    reply = phi3.engine.generate(messages, max_tokens=2000, temperature=0.0)
    async with aclosing(reply):
        for _ in range(3):
            await anext(reply)
    await until_async(lambda: phi3.metric("num_requests_running") == 0)
    assert 3 <= phi3.metric("generation_tokens_total") - before < 1500
    assert await phi3.answer("Goodbye.") == DIALOGUES["Goodbye."]


async def test_cancelling_who_waits_for_a_reply_aborts_it_in_vllm(phi3: Loaded) -> None:
    before = phi3.metric("generation_tokens_total")
    waiting = asyncio.create_task(phi3.answer(ENDLESS[0], max_tokens=2000))
    await until_async(lambda: phi3.metric("num_requests_running") == 1)
    waiting.cancel()
    await until_async(lambda: phi3.metric("num_requests_running") == 0)
    assert 0 < phi3.metric("generation_tokens_total") - before < 1500


# Tools


async def test_a_tool_is_called_and_its_result_is_answered(chosen: Loaded) -> None:
    asked = ChatMessage(role="user", content=WEATHER_QUESTION)
    (call,) = await all_deltas(chosen.engine, [asked])
    assert isinstance(call, ToolCall)
    assert call.name == "weather"
    assert json.loads(call.arguments) == {"place": "Oslo"}
    called = ChatMessage(role="assistant", tool_calls=(call,))
    result = ChatMessage(role="tool", tool_call_id=call.call_id, content=WEATHER_RESULT)
    answer = await all_deltas(chosen.engine, [asked, called, result])
    assert "".join(delta.text for delta in answer if isinstance(delta, TextDelta)) == WEATHER_ANSWER


async def test_with_tools_a_question_that_needs_none_is_answered_in_words(chosen: Loaded) -> None:
    answer = await all_deltas(chosen.engine, [ChatMessage(role="user", content="Goodbye.")])
    assert "".join(delta.text for delta in answer if isinstance(delta, TextDelta)) == DIALOGUES["Goodbye."]


async def test_a_long_conversation_with_tools_is_truncated_to_the_context_of_the_setting(
    chosen: Loaded,
) -> None:
    messages = [
        ChatMessage(role="assistant" if index % 2 else "user", content="My name is Ann. " * 4)
        for index in range(100)
    ]
    before = chosen.metric("prompt_tokens_total")
    await all_deltas(chosen.engine, [*messages, ChatMessage(role="user", content="Goodbye.")])
    assert 1024 - 60 - 300 < chosen.metric("prompt_tokens_total") - before <= 1024 - 60


async def all_deltas(engine: VllmLLM, messages: Sequence[ChatMessage]) -> list[LLMDelta]:
    reply = engine.generate(messages, tools=[WEATHER], max_tokens=60, temperature=0.0)
    return [delta async for delta in reply]


# Long conversations


async def test_the_oldest_turns_of_a_long_conversation_are_left_out_and_no_more_than_need_be(
    phi3: Loaded,
) -> None:
    long_ago = ["My name is Ann. " * 4, "Nice to meet you, Ann."] * 200
    before = phi3.metric("prompt_tokens_total")
    await phi3.answer(*long_ago, "Goodbye.", system=SYSTEM_PROMPT, max_tokens=60)
    read = phi3.metric("prompt_tokens_total") - before
    assert 4096 - 60 - 120 < read <= 4096 - 60  # a turn is about a hundred tokens long


async def test_a_question_longer_than_the_context_is_refused_with_its_length(phi3: Loaded) -> None:
    with pytest.raises(TooLong, match=r"\d{4} tokens long.*room for 4036"):
        await phi3.answer("a b " * 3000)
    assert await phi3.answer("Goodbye.") == DIALOGUES["Goodbye."]


async def test_more_tokens_than_the_context_may_be_asked_for(phi3: Loaded) -> None:
    assert await phi3.answer("Goodbye.", max_tokens=100_000) == DIALOGUES["Goodbye."]


# Its life


async def test_it_sleeps_for_a_snapshot_and_answers_after_it(phi3: Loaded) -> None:
    phi3.engine.before_snapshot()
    assert phi3.metric("engine_sleep_state", sleep_state="awake") == 0
    phi3.engine.restored()
    assert phi3.metric("engine_sleep_state", sleep_state="awake") == 1
    assert await phi3.answer("Hello there!") == DIALOGUES["Hello there!"]


def test_it_listens_on_loopback_alone_and_connects_to_nothing_else(phi3: Loaded, tmp_path: Path) -> None:
    assert refuses_strangers(tmp_path)
    connections = [one for process in phi3.processes for one in process.net_connections("inet")]
    assert connections
    for connection in connections:
        for address in filter(None, (connection.laddr, connection.raddr)):
            assert address.ip in {"127.0.0.1", "::1"}
    assert phi3.foreign_addresses
    assert phi3.foreign_addresses.read_text() == ""


async def test_vllm_killed_in_mid_reply_is_told_with_its_last_lines_and_leaves_nothing_behind() -> None:
    llama = await asyncio.to_thread(lambda: Loaded(Llama()))
    try:
        assert [await llama.answer(question) for question in DIALOGUES] == [*DIALOGUES.values()]
        assert not llama.engine.is_broken()
        messages = [ChatMessage(role="user", content=ENDLESS[0])]
        reply = llama.engine.generate(messages, max_tokens=4000, temperature=0.0)
        await anext(reply)
        llama.processes[0].kill()
        with pytest.raises(
            StageFailed, match="vLLM is lost: it was ended by SIGKILL, and the log has its last lines"
        ):
            async for _ in reply:
                pass
        assert llama.engine.is_broken()
        with pytest.raises(StageFailed, match="vLLM is lost"):
            await llama.answer("Goodbye.")
        await until_async(lambda: gone(llama.processes))
    finally:
        await asyncio.to_thread(llama.engine.close)


async def test_a_vllm_whose_engine_hangs_is_ended_though_it_calls_itself_healthy(chosen: Loaded) -> None:
    """The last test of this engine."""
    engine_core = next(one for one in chosen.processes if "EngineCore" in "".join(one.cmdline()))
    engine_core.suspend()
    with pytest.raises(StageTimedOut):
        await chosen.answer("Goodbye.")
    assert chosen.engine._server
    assert await asyncio.to_thread(chosen.engine._server.is_healthy)
    assert not chosen.engine.is_broken()
    with pytest.raises(StageTimedOut):
        await chosen.answer("Goodbye.")
    assert chosen.engine.is_broken()
    await until_async(lambda: gone(chosen.processes))


async def test_it_ends_with_a_vllm_whose_engine_dies_and_with_all_its_processes(phi3: Loaded) -> None:
    """The last test of this engine."""
    messages = [ChatMessage(role="user", content=ENDLESS[0])]
    reply = phi3.engine.generate(messages, max_tokens=2000, temperature=0.0)
    await anext(reply)
    engine_core = next(one for one in phi3.processes if "EngineCore" in "".join(one.cmdline()))
    engine_core.kill()
    with pytest.raises(StageFailed, match="vLLM is lost"):
        async for _ in reply:
            pass
    assert phi3.engine.is_broken()
    await until_async(lambda: gone(phi3.processes))


def test_a_program_that_is_killed_leaves_no_vllm_behind(tmp_path: Path) -> None:
    code = "from services.llm.vllm import Phi3; Phi3().load()"
    program = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        until(lambda: len(psutil.Process(program.pid).children(recursive=True)) >= 2, 300)
        vllm = psutil.Process(program.pid).children(recursive=True)
    finally:
        program.kill()
        program.wait()
    until(lambda: gone(vllm), 300)


def test_closing_it_while_it_starts_ends_its_processes() -> None:
    engine = Phi3()
    failures: list[SpeechError] = []

    def load() -> None:
        try:
            engine.load()
        except SpeechError as error:
            failures.append(error)

    before = set(psutil.Process().children(recursive=True))
    loading = threading.Thread(target=load)
    loading.start()
    until(lambda: set(psutil.Process().children(recursive=True)) > before, 300)
    engine.close()
    loading.join(60)
    assert isinstance(failures[0], EngineLoadFailed)
    assert set(psutil.Process().children(recursive=True)) <= before


# Starting


@pytest.mark.parametrize("engine", [Phi3, Llama, AnyOnVllm])
def test_vllm_s_own_parser_accepts_the_flags_of_production(engine: type[VllmLLM]) -> None:
    options = parsed(vllm_flags(engine, Settings(vllm_flags="")))
    assert options.max_model_len == engine.spec.context_length
    assert options.performance_mode == "interactivity"
    assert options.enable_sleep_mode
    assert options.max_num_seqs == 16
    assert options.tool_call_parser == ("llama3_json" if engine is Llama else None)


def test_flags_of_the_setting_win() -> None:
    flags = "--gpu-memory-utilization 0.5 --no-enable-sleep-mode"
    options = parsed(vllm_flags(Phi3, Settings(vllm_flags=flags)))
    assert options.gpu_memory_utilization == 0.5
    assert not options.enable_sleep_mode


def test_the_vllm_of_these_tests_has_the_version_of_production() -> None:
    assert f"vllm=={version('vllm').partition('+')[0]}" == VLLM_PACKAGES[0]


def parsed(flags: list[str]) -> argparse.Namespace:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser: argparse.ArgumentParser = make_arg_parser(FlexibleArgumentParser())
    return parser.parse_args(["--model", "some/model", *flags])


def test_a_flag_that_vllm_does_not_know_fails_the_load_and_the_log_has_vllm_s_own_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("S2S_VLLM_FLAGS", "--no-such-flag")
    settings.cache_clear()
    with pytest.raises(EngineLoadFailed, match="ended with code 2"):
        Phi3().load()
    assert "--no-such-flag" in caplog.records[-1].message
    settings.cache_clear()


def test_missing_weights_are_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_cache(tmp_path, monkeypatch)
    with pytest.raises(WeightsMissing, match="fetch-weights"):
        Phi3().load()


def test_damaged_weights_fail_the_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (damaged / name).write_text("{}")
    put_into_hub_cache(tmp_path, Phi3.weights(), damaged)
    use_cache(tmp_path, monkeypatch)
    with pytest.raises(EngineLoadFailed, match="ended with code 1"):
        Phi3().load()
