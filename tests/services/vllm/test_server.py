"""A vLLM server from its start to its end: replies, failures, and kernels that it compiles."""

import asyncio
import logging
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from services.llm.vllm import AnyOnVllm, Phi3, VllmLLM
from shared.errors import EngineLoadFailed, SpeechError, StageFailed, StageTimedOut
from shared.payloads import ChatMessage, TextDelta
from shared.settings import settings
from tests.support.stand_in.vllm.entrypoints.cli.main import DIE, HANG
from tests.support.waiting import GIVE_UP_S


@pytest.fixture
async def engine(configure: Callable[..., None], request: pytest.FixtureRequest) -> AsyncIterator[VllmLLM]:
    """Its caller waits as long as the test's parameter says."""
    configure(S2S_LLM_TIMEOUT_S=getattr(request, "param", GIVE_UP_S))
    loaded = AnyOnVllm()
    await asyncio.to_thread(loaded.load)
    yield loaded
    await asyncio.to_thread(loaded.close)


async def answer(engine: VllmLLM, question: str) -> str:
    messages = [ChatMessage(role="user", content=question)]
    reply = engine.generate(messages, max_tokens=50, temperature=0.5)
    return "".join([delta.text async for delta in reply if isinstance(delta, TextDelta)])


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


# Replies


async def test_replies_come_back(engine: VllmLLM) -> None:
    assert await answer(engine, "Hello") == "You said: Hello"


def test_vllm_listens_on_a_socket_that_no_other_user_can_reach(configure: Callable[..., None]) -> None:
    engine = Phi3()
    engine.load()
    (command,) = [one.cmdline() for one in children() if "serve" in one.cmdline()]
    socket = Path(command[command.index("--uds") + 1])
    assert stat.S_ISSOCK(socket.stat().st_mode)
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    engine.close()
    assert not socket.parent.exists()


# A vLLM that hangs or ends


@pytest.mark.parametrize("engine", [0.5], indirect=True)
async def test_a_vllm_that_twice_in_a_row_does_not_answer_is_ended(engine: VllmLLM) -> None:
    with pytest.raises(StageTimedOut):
        await answer(engine, HANG)
    assert not engine.is_broken()
    with pytest.raises(StageTimedOut):
        await answer(engine, HANG)
    assert engine.is_broken()
    with pytest.raises(StageFailed, match="vLLM is lost"):
        await answer(engine, "Hello")


@pytest.mark.parametrize("engine", [3], indirect=True)
async def test_a_reply_in_between_shows_that_it_works(engine: VllmLLM) -> None:
    for question in (HANG, "Hello", HANG):
        try:
            await answer(engine, question)
        except StageTimedOut:
            assert question == HANG
    assert not engine.is_broken()


@pytest.mark.parametrize("engine", [5], indirect=True)
async def test_it_gives_up_before_its_caller_does(engine: VllmLLM) -> None:
    """Else the caller's cancellation would come first, and nobody would learn that vLLM hangs."""
    with pytest.raises(StageTimedOut):
        async with asyncio.timeout(settings().llm_timeout_s):
            await answer(engine, HANG)


async def test_the_last_lines_of_a_vllm_that_ends_are_for_the_log_alone(
    engine: VllmLLM, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StageFailed, match="vLLM is lost: it ended with code 3") as raised:
        await answer(engine, DIE)
    assert "Out of memory" not in raised.value.message
    assert any("Out of memory" in one.message for one in caplog.records if one.levelno == logging.ERROR)
    assert engine.is_broken()


async def test_connections_that_cannot_be_closed_in_time_do_not_keep_vllm_alive(
    engine: VllmLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.llm.chat_api._CLOSING_TIMEOUT_S", 0.1)
    await answer(engine, "Hello")
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(GIVE_UP_S)  # the event loop is blocked here, so that it cannot close anything
    assert engine.is_broken()


# Starting and closing


def test_a_vllm_that_does_not_start_fails_the_load(
    configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    configure(S2S_VLLM_FLAGS="--fail")
    with pytest.raises(EngineLoadFailed, match="could not start: it ended with code 1"):
        Phi3().load()
    assert "CUDA is out of sorts" in caplog.text


def test_nothing_is_started_once_it_is_closed(configure: Callable[..., None]) -> None:
    engine = Phi3()
    engine.close()
    before = children()
    with pytest.raises(EngineLoadFailed, match="closed"):
        engine.load()
    assert children() == before


def test_closing_it_while_vllm_starts_ends_both(configure: Callable[..., None]) -> None:
    configure(S2S_VLLM_FLAGS="--never-ready")
    engine, failures, before = Phi3(), [], children()

    def load() -> None:
        try:
            engine.load()
        except SpeechError as error:
            failures.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    while not children() > before:
        assert loading.is_alive()
        time.sleep(0.01)
    engine.close()
    loading.join(GIVE_UP_S)
    assert isinstance(failures[0], EngineLoadFailed)
    assert children() <= before


# Its compiled kernels


def test_in_a_container_what_vllm_compiles_is_found_by_the_next_container(
    configure: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    configure(MODAL_TASK_ID="ta-1", HF_HUB_CACHE=tmp_path / "hub")
    for expected in ("compiling", "compiled before"):
        caplog.clear()
        # pytest's own folder is too long for a socket
        with tempfile.TemporaryDirectory(dir="/tmp") as of_container:
            monkeypatch.setattr("tempfile.tempdir", of_container)
            engine = Phi3()
            engine.load()
            engine.close()
        assert expected in caplog.messages


def test_a_container_whose_published_kernels_are_damaged_compiles_anew(
    configure: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    configure(MODAL_TASK_ID="ta-1", HF_HUB_CACHE=tmp_path / "hub")
    archive = tmp_path / "hub" / f"vllm-{Phi3().model_name}.tar"
    archive.write_bytes(b"half a file")
    with tempfile.TemporaryDirectory() as of_container:
        monkeypatch.setattr("tempfile.tempdir", of_container)
        engine = Phi3()
        engine.load()
        engine.close()
    assert "compiling" in caplog.messages
    assert archive.stat().st_size > 1000


def test_elsewhere_vllm_keeps_it_where_it_always_does(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.delenv("MODAL_TASK_ID", raising=False)
    engine = Phi3()
    engine.load()
    engine.close()
    assert not {"compiling", "compiled before"} & set(caplog.messages)
