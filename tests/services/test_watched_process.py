"""A program that runs beside us: what is told of it, and that nothing of it is left."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from services.process.watched_process import WatchedProcess
from tests.support.processes import is_running
from tests.support.waiting import GIVE_UP_S, until

PARENT_AND_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def start() -> Iterator[Callable[[str], WatchedProcess]]:
    started: list[WatchedProcess] = []

    def start_program(code: str) -> WatchedProcess:
        command = [sys.executable, "-c", code]
        started.append(WatchedProcess(command, os.environ, logging.getLogger("program").info))
        return started[-1]

    yield start_program
    for process in started:
        process.end(grace_s=0)


def test_an_end_is_reported_with_its_code_and_the_last_lines_of_both_streams(
    start: Callable[[str], WatchedProcess],
) -> None:
    process = start(
        "import sys; print(*range(100), sep='\\n'); sys.stdout.flush(); sys.exit('no such model')"
    )
    assert process.wait(GIVE_UP_S)
    assert process.has_ended
    assert process.how_it_ended == "ended with code 1"
    assert process.last_lines.endswith("\n98\n99\nno such model")
    assert "\n10\n" not in process.last_lines


def test_an_end_by_a_signal_is_reported_by_its_name(start: Callable[[str], WatchedProcess]) -> None:
    process = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(GIVE_UP_S)
    assert process.how_it_ended == "was ended by SIGKILL"
    assert process.last_lines == "(none)"


def test_what_it_says_is_logged_as_it_comes(
    start: Callable[[str], WatchedProcess], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="program")
    process = start("import time; print('ready', flush=True); time.sleep(600)")
    until(lambda: "ready" in caplog.messages)
    assert not process.wait(0)
    assert not process.has_ended


def test_bytes_that_are_no_text_do_not_stop_the_log(start: Callable[[str], WatchedProcess]) -> None:
    process = start("import sys; sys.stdout.buffer.write(b'\\xff\\n'); print('after')")
    assert process.wait(GIVE_UP_S)
    assert process.last_lines.endswith("\nafter")


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_it_has_started_ends_with_it(
    start: Callable[[str], WatchedProcess], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO, logger="program")
    process = start(PARENT_AND_CHILD)
    until(lambda: bool(caplog.messages))
    child = int(caplog.messages[0])
    if how == "killed":
        psutil.Process(child).parent().kill()  # type: ignore[union-attr]
        assert process.wait(GIVE_UP_S)
    else:
        process.end(grace_s=GIVE_UP_S)
    assert process.has_ended
    until(lambda: not is_running(child))


def test_a_program_that_will_not_end_is_killed(
    start: Callable[[str], WatchedProcess], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="program")
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = start(f"{ignore}; print('deaf', flush=True); time.sleep(600)")
    until(lambda: bool(caplog.messages))
    process.end(grace_s=0.05)
    assert process.has_ended
    assert "SIGKILL" in process.how_it_ended


def test_it_and_what_it_has_started_end_when_we_are_killed() -> None:
    code = f"""
import functools, os, sys, time
from services.process.watched_process import WatchedProcess
show = functools.partial(print, flush=True)
WatchedProcess([sys.executable, "-c", {PARENT_AND_CHILD!r}], os.environ, show)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as us:
        assert us.stdout
        child = int(us.stdout.readline())
        parent = psutil.Process(child).ppid()
        assert is_running(parent)
        us.send_signal(signal.SIGKILL)
    until(lambda: not is_running(parent) and not is_running(child))
