"""The control plane as a program: what it writes, what it takes away, what it leaves behind: nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.modal_control_plane import DEFAULT_CACHE

PROGRAM = """
import modal
app = modal.App("kept")
@app.function(min_containers=2)
def f():
    pass
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    pytest.importorskip("modal", reason="needs modal: pip install -e '.[cloud]'")
    cache = os.environ.get("MODAL_CONTROL_PLANE_CACHE", str(DEFAULT_CACHE))
    command = [sys.executable, "-m", "tests.modal_control_plane", "--cache", cache]
    with subprocess.Popen(
        [*command, "--env-file", str(tmp_path / "env"), "--state", str(tmp_path / "state")],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_server_leaves_no_process_behind_however_it_ends(
    server: "subprocess.Popen[str]", tmp_path: Path, ending: signal.Signals
) -> None:
    until(lambda: (tmp_path / "env").exists())
    (tmp_path / "kept_app.py").write_text(PROGRAM)
    deploy = f". ./env && {sys.executable} -m modal deploy -m kept_app"
    subprocess.run(deploy, shell=True, cwd=tmp_path, check=True, capture_output=True)
    parent = psutil.Process(server.pid)
    until(lambda: len(parent.children(recursive=True)) == 2)
    containers = parent.children(recursive=True)
    server.send_signal(ending)
    server.wait(30)
    until(lambda: not any(one.is_running() and one.status() != "zombie" for one in containers))
    assert (tmp_path / "env").exists() == (ending == signal.SIGKILL)


def test_the_server_says_what_is_simulated_and_how_to_reach_it(
    server: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    until(lambda: (tmp_path / "env").exists())
    written = (tmp_path / "env").read_text()
    assert "export MODAL_SERVER_URL=http://127.0.0.1:" in written
    server.terminate()
    said, _ = server.communicate(timeout=30)
    assert written in said
    for word in ("Simulated", "scheduling", "network", "image builds", "GPU"):
        assert word in said


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)
