"""vLLM from its snapshot to its end, whoever ends it. These tests leave no engine that works."""

import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from services.llm.vllm import Phi3
from shared.errors import EngineLoadFailed, SpeechError, StageFailed
from shared.payloads import ChatMessage
from tests.engines.loopback_only import refuses_strangers
from tests.engines.tiny_llm import DIALOGUES, ENDLESS
from tests.engines.vllm.loaded_vllm import Loaded, gone
from tests.support.waiting import until, until_async


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
