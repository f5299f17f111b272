"""vllm, phi3 and llama on a stand-in for `vllm serve`. On vLLM itself they are tested in tests/engines."""

import asyncio
import logging
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.llm.vllm import AnyOnVllm, Llama, Phi3, VllmLLM, tool_parser, vllm_flags
from services.on_modal.image_locks import LOCKS, lock_file
from services.selection import discover
from shared.engines import MODEL_REGISTRY
from shared.errors import EngineLoadFailed, Misconfigured, SpeechError, Stage, StageFailed, StageTimedOut
from shared.payloads import ChatMessage, TextDelta
from shared.settings import Settings, settings
from tests.engines.hub_cache import put_into_hub_cache
from tests.support.local_hub import local_hub
from tests.support.paths import ROOT
from tests.support.stand_in.vllm.entrypoints.cli.main import DIE, HANG


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets environment variables. The weights of all models are there, and vLLM is the stand-in."""
    import huggingface_hub.constants

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    files = tmp_path / "files"
    files.mkdir()
    for name in ("config.json", "model.safetensors"):
        (files / name).write_text("{}")
    for engine in (AnyOnVllm, Phi3, Llama):
        put_into_hub_cache(tmp_path / "hub", engine.weights(), files)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    set_variables(PYTHONPATH=f"{ROOT}:{ROOT / 'tests' / 'support' / 'stand_in'}")
    yield set_variables
    settings.cache_clear()


@pytest.fixture
async def engine(configure: Callable[..., None]) -> AsyncIterator[VllmLLM]:
    configure(S2S_LLM_TIMEOUT_S=0.5)
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


async def test_a_vllm_that_twice_in_a_row_does_not_answer_is_ended(engine: VllmLLM) -> None:
    with pytest.raises(StageTimedOut):
        await answer(engine, HANG)
    assert not engine.is_broken()
    with pytest.raises(StageTimedOut):
        await answer(engine, HANG)
    assert engine.is_broken()
    with pytest.raises(StageFailed, match="vLLM is lost"):
        await answer(engine, "Hello")


async def test_a_reply_in_between_shows_that_it_works(engine: VllmLLM) -> None:
    for question in (HANG, "Hello", HANG):
        try:
            await answer(engine, question)
        except StageTimedOut:
            assert question == HANG
    assert not engine.is_broken()


async def test_it_gives_up_before_its_caller_does(engine: VllmLLM) -> None:
    """Else the caller's cancellation would come first, and nobody would learn that vLLM hangs."""
    began_s = time.monotonic()
    with pytest.raises(StageTimedOut):
        await answer(engine, HANG)
    assert time.monotonic() - began_s < settings().llm_timeout_s


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
    closing.join(30)  # the event loop is blocked here, so that it cannot close anything
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
    loading.join(20)
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


# What is served


def test_vllm_serves_the_repository_revision_and_context_length_of_the_settings(
    configure: Callable[..., None],
) -> None:
    default = AnyOnVllm.weights()
    assert (default.repository, len(default.revision)) == ("Qwen/Qwen3-4B-Instruct-2507", 40)
    configure(S2S_LLM_REPOSITORY="google/gemma-3-4b-it", S2S_LLM_CONTEXT_LENGTH=2048, S2S_LLM_GATED=1)
    weights = AnyOnVllm.weights()
    assert (weights.repository, weights.revision, weights.token) == (
        "google/gemma-3-4b-it",
        "main",
        "HF_TOKEN",
    )
    assert AnyOnVllm().model_name == "gemma-3-4b-it"
    assert "--max-model-len 2048" in " ".join(vllm_flags(AnyOnVllm, settings()))
    configure(S2S_LLM_REVISION="v1.2")
    assert AnyOnVllm.weights().revision == "v1.2"
    assert Phi3.weights() == Phi3.spec.weights


FETCH = """
from services.llm.vllm import AnyOnVllm
from services.weights import fetch
print(fetch(AnyOnVllm.weights()))
"""


def test_a_gated_repository_is_fetched_with_a_token_and_refused_with_what_it_takes(tmp_path: Path) -> None:
    def fetched(**environ: str) -> subprocess.CompletedProcess[str]:
        hub_variables = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        return subprocess.run(
            [sys.executable, "-c", FETCH],
            cwd=ROOT,
            env={"PATH": "", "S2S_LLM_REPOSITORY": "somebody/gated", **hub_variables, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    with local_hub(
        {"somebody/gated": {"config.json": b"{}", "model.bin": b"not needed"}}, token="hf_me"
    ) as hub:
        refused = fetched()
        done = fetched(S2S_LLM_GATED="1", HF_TOKEN="hf_me")
    assert refused.returncode
    assert "S2S_LLM_GATED=1 and HF_TOKEN" in refused.stderr
    assert [file.name for file in Path(done.stdout.strip()).iterdir()] == ["config.json"]


@pytest.mark.parametrize("repository", ["gemma", "a/b/c", "https://huggingface.co/a/b", "a/b c"])
def test_what_can_be_no_repository_is_refused(configure: Callable[..., None], repository: str) -> None:
    configure(S2S_LLM_REPOSITORY=repository)
    with pytest.raises(Misconfigured, match="S2S_LLM_REPOSITORY"):
        settings()


@pytest.mark.parametrize(
    ("repository", "parser"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507", "hermes"),
        ("Qwen/Qwen2.5-7B-Instruct", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", None),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("google/gemma-3-4b-it", None),
    ],
)
def test_tools_are_there_where_vllm_can_parse_the_family_s_calls(
    configure: Callable[..., None], repository: str, parser: str | None
) -> None:
    configure(S2S_LLM_REPOSITORY=repository)
    assert tool_parser(AnyOnVllm, settings()) == parser
    assert AnyOnVllm().supports_tools == (parser is not None)
    flags = " ".join(vllm_flags(AnyOnVllm, settings()))
    assert ("--enable-auto-tool-choice" in flags) == (parser is not None)
    configure(S2S_LLM_TOOL_PARSER="pythonic")
    assert "--tool-call-parser pythonic" in " ".join(vllm_flags(AnyOnVllm, settings()))


def test_llama_has_tools_and_phi3_has_none(configure: Callable[..., None]) -> None:
    assert Llama().supports_tools
    assert not Phi3().supports_tools


def test_all_of_them_are_installed_from_one_lock_file() -> None:
    discover(Stage.LLM)
    models = [MODEL_REGISTRY[Stage.LLM][name] for name in ("vllm", "phi3", "llama")]
    assert {lock_file(model) for model in models} == {LOCKS / "llm-vllm.txt"}


def test_vllm_works_on_as_many_replies_as_the_container_takes() -> None:
    assert "--max-num-seqs 16" in " ".join(vllm_flags(Phi3, Settings()))
    assert "--max-num-seqs 64" in " ".join(vllm_flags(Phi3, Settings(llm={"concurrent_inputs": 64})))
