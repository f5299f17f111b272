"""The process in which pocketsphinx decodes: how it is replaced and ended, and that none is left."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from bench.sounds import voice
from services.asr.pocketsphinx import PocketsphinxASR
from shared.audio.pcm import Pcm
from shared.errors import EngineLoadFailed, StageFailed
from tests.support.paths import ROOT
from tests.support.processes import descendants_with, is_running
from tests.support.waiting import GIVE_UP_S, until

pytestmark = pytest.mark.slow

HZ = 16_000


@contextmanager
def loaded_engine() -> Iterator[PocketsphinxASR]:
    engine = PocketsphinxASR()
    engine.load()
    try:
        yield engine
    finally:
        engine.close()


def long_utterance() -> Pcm:
    """Something that is decoded for seconds."""
    return voice(30 * HZ, HZ)


def workers() -> list[psutil.Process]:
    """The workers that this process has started; other tests may have started other processes."""
    return descendants_with("pocketsphinx_worker")


def wait_for_decoding(worker: psutil.Process) -> None:
    """Until the worker has computed for a while, so that it is in the midst of an utterance."""
    idle_s = worker.cpu_times().user
    until(lambda: worker.cpu_times().user > idle_s + 0.2)


@contextmanager
def decoding(engine: PocketsphinxASR) -> Iterator[Callable[[], str]]:
    """A long utterance that is being decoded; the block gets what waits for its outcome."""
    (worker,) = workers()
    with ThreadPoolExecutor(1) as pool:
        transcript = pool.submit(engine.transcribe, long_utterance())
        wait_for_decoding(worker)
        yield lambda: transcript.result(timeout=GIVE_UP_S)


def test_a_worker_killed_in_mid_utterance_fails_it_and_the_next_gets_a_fresh_one() -> None:
    with loaded_engine() as engine:
        (before,) = workers()
        with decoding(engine) as transcript:
            before.kill()
            with pytest.raises(StageFailed, match="its process died"):
                transcript()
        assert isinstance(engine.transcribe(voice(HZ, HZ)), str)
        (after,) = workers()
        assert after != before


def test_a_worker_killed_between_utterances_is_replaced_unnoticed() -> None:
    with loaded_engine() as engine:
        (worker,) = workers()
        worker.kill()
        until(lambda: not is_running(worker))
        assert isinstance(engine.transcribe(voice(HZ, HZ)), str)


def test_closing_ends_an_utterance_under_way_and_leaves_no_process_or_thread() -> None:
    threads = set(threading.enumerate())
    with loaded_engine() as engine, decoding(engine) as transcript:
        engine.close()
        assert workers() == []
        with pytest.raises(StageFailed, match="was closed"):
            transcript()
        engine.close()  # again, which is no error
        with pytest.raises(StageFailed, match="was closed"):
            engine.transcribe(voice(HZ, HZ))
        with pytest.raises(StageFailed, match="was closed"):
            engine.load()
    assert set(threading.enumerate()) == threads


def test_closing_ends_loading_too() -> None:
    engine = PocketsphinxASR()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(engine.load)
        until(lambda: bool(workers()) or loading.done())
        engine.close()
        with pytest.raises((EngineLoadFailed, StageFailed), match="was closed"):
            loading.result(timeout=GIVE_UP_S)
    assert workers() == []


def test_an_engine_that_never_loaded_can_be_closed() -> None:
    PocketsphinxASR().close()


def test_a_model_that_cannot_be_read_fails_the_load_and_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POCKETSPHINX_PATH", "/nonexistent")
    engine = PocketsphinxASR()
    with pytest.raises(EngineLoadFailed, match="pip install") as caught:
        engine.load()
    assert "\n" not in caught.value.message
    assert workers() == []


PARENT = """
import signal, sys
from bench.sounds import voice
from services.asr.pocketsphinx import PocketsphinxASR

interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
engine = PocketsphinxASR()
engine.load()
print("loaded", flush=True)
for line in sys.stdin:
    engine.transcribe(voice(int(line) * 16_000, 16_000))
    print("transcribed", len(interrupts), flush=True)
engine.close()
"""


@contextmanager
def parent_process() -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process with an engine, leader of its own process group, and its worker."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as parent:
        assert parent.stdout
        try:
            assert parent.stdout.readline() == "loaded\n"
            (worker,) = psutil.Process(parent.pid).children(recursive=True)
            yield parent, worker
        finally:
            parent.kill()


def ask(parent: subprocess.Popen[str], duration_s: int) -> None:
    assert parent.stdin
    print(duration_s, file=parent.stdin, flush=True)


def test_the_worker_ends_in_mid_utterance_when_its_parent_is_killed() -> None:
    with parent_process() as (parent, worker):
        ask(parent, 120)
        wait_for_decoding(worker)
        parent.kill()
        parent.wait()
        until(lambda: not is_running(worker), within_s=10)  # to decode all of it would take twice that


def test_an_interrupt_from_the_terminal_leaves_the_worker_to_its_parent() -> None:
    with parent_process() as (parent, worker):
        os.killpg(parent.pid, signal.SIGINT)  # as Ctrl-C does, to all of the group
        ask(parent, 1)
        assert parent.stdout
        assert parent.stdout.readline() == "transcribed 1\n"
        assert worker.is_running()


def test_the_worker_imports_nothing_of_the_project_nor_any_library_before_its_own() -> None:
    code = (
        "import sys, services.asr.pocketsphinx_worker\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "'services'" in run.stdout
    for module in ("shared", "client", "numpy", "pydantic", "typer", "pocketsphinx"):
        assert f"'{module}'" not in run.stdout
