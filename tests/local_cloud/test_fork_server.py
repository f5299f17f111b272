"""Containers' processes: what they are given, how they end, and what is left of them."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_cloud.fork_server import Forked, ForkServers
from tests.support.processes import is_running
from tests.support.waiting import until

ENVIRON = {"MODAL_IS_REMOTE": "1", "MODAL_CONFIG_PATH": os.devnull}
INTERPRETER = Path(sys.executable)


@pytest.fixture(scope="module")
def servers() -> Iterator[ForkServers]:
    servers = ForkServers()
    yield servers
    servers.close()


def waiting(servers: ForkServers, folder: Path, **variables: str) -> Forked:
    """A container's process that waits for its arguments for ever."""
    arguments = folder / "arguments"
    if not arguments.exists():
        os.mkfifo(arguments)
    variables |= ENVIRON | {"MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments)}
    return servers.fork(INTERPRETER, variables, folder)


def printed(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()


def ended(process: Forked) -> int:
    os.close(process.stdout)
    os.close(process.stderr)
    return process.status.result(20)


def test_what_it_prints_and_how_it_ended_come_back(servers: ForkServers, tmp_path: Path) -> None:
    process = servers.fork(INTERPRETER, ENVIRON, tmp_path)
    assert "No path to the container arguments file" in printed(process.stderr)
    assert printed(process.stdout) == ""
    assert process.status.result(20) == 1


def test_it_has_its_folder_and_variables_and_a_group_of_its_own(servers: ForkServers, tmp_path: Path) -> None:
    process = waiting(servers, tmp_path)
    until(lambda: Path(psutil.Process(process.pid).cwd()) == tmp_path)
    assert os.getpgid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL


def test_sigint_interrupts_it_also_where_the_local_cloud_ignores_it(tmp_path: Path) -> None:
    before, servers = signal.signal(signal.SIGINT, signal.SIG_IGN), ForkServers()
    try:
        process = waiting(servers, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    os.kill(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in printed(process.stderr)
    os.close(process.stdout)
    servers.close()


def test_those_of_one_interpreter_share_its_imports_unless_a_variable_counts_at_its_start(
    servers: ForkServers, tmp_path: Path
) -> None:
    one, same = waiting(servers, tmp_path), waiting(servers, tmp_path, OTHER="variable")
    other = waiting(servers, tmp_path, PYTHONUTF8="1")
    parents = [psutil.Process(process.pid).ppid() for process in (one, same, other)]
    assert parents[0] == parents[1] != parents[2]
    for process in (one, same, other):
        os.killpg(process.pid, signal.SIGKILL)
        ended(process)


def test_its_death_by_accident_ends_its_containers_and_the_next_one_has_another(tmp_path: Path) -> None:
    servers = ForkServers()
    process = waiting(servers, tmp_path)
    psutil.Process(process.pid).parent().kill()  # type: ignore[union-attr]
    assert ended(process) == -signal.SIGKILL
    until(lambda: not is_running(process.pid))
    again = waiting(servers, tmp_path)
    assert is_running(again.pid)
    servers.close()
    assert ended(again) == -signal.SIGKILL


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    servers = ForkServers()
    processes = [waiting(servers, tmp_path) for _ in range(2)]
    server = psutil.Process(processes[0].pid).parent()
    servers.close()
    assert {ended(one) for one in processes} == {-signal.SIGKILL}
    until(lambda: not any(is_running(one.pid) for one in processes))
    assert server is not None
    assert not is_running(server)


def test_an_interpreter_that_cannot_import_modal_says_so(servers: ForkServers, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named modal' >&2\nexit 1\n")
    broken.chmod(0o755)
    for _ in range(2):
        with pytest.raises(OSError, match="in this image: No module named modal"):
            servers.fork(broken, ENVIRON, tmp_path)
