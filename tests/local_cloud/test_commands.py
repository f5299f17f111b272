"""The unmodified `modal` command, as a person uses it, on the local control plane."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import modal
import pytest

from tests.support.control_plane_programs import Cloud
from tests.support.waiting import GIVE_UP_S, until

Command = Callable[..., str]
PROGRAM = """
import asyncio, os, modal

app = modal.App("daily")

@app.function()
@modal.concurrent(max_inputs=10)
async def version(gate=None):
    print("asked for its version")
    while gate and not os.path.exists(gate):
        await asyncio.sleep(0.05)
    return VERSION, os.getpid()

@app.function(buffer_containers=1, max_containers=3)
def spare():
    return os.getpid()

@app.cls(scaledown_window=300)
class Speaker:
    @modal.method()
    async def together(self, seconds):
        await asyncio.sleep(seconds)
        return os.getpid()
"""


@pytest.fixture(scope="module")
def folder(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("daily")
    cloud.deploy(folder, "daily_app", PROGRAM.replace("VERSION", "1"))
    return folder


@pytest.fixture
def command(cloud: Cloud, tmp_path: Path) -> Command:
    """Run `modal`, which must succeed, or fail where that is wanted; return what it has printed."""

    def run(*arguments: str, fails: bool = False) -> str:
        done = cloud.modal(tmp_path, *arguments, fails=fails)
        return done.stderr if fails else done.stdout

    return run


def rows(table: str, column: str) -> list[str]:
    return [row[column] for row in json.loads(table)]


def test_secrets_are_created_listed_and_deleted(command: Command) -> None:
    command("secret", "create", "key", "HF_TOKEN=one")
    assert rows(command("secret", "list", "--json"), "name") == ["key"]
    with pytest.raises(modal.exception.AlreadyExistsError):
        modal.Secret.objects.create("key", {"HF_TOKEN": "two"})
    command("secret", "delete", "key", "--yes")
    assert modal.Secret.objects.list() == []


def test_files_are_put_into_a_volume_listed_fetched_and_removed(command: Command, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "small.bin").write_bytes(b"small")
    (weights / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    command("volume", "create", "models")
    command("volume", "put", "models", str(weights), "/phi")
    listed = json.loads(command("volume", "ls", "models", "phi", "--json"))
    assert {row["filename"]: row["size"] for row in listed} == {
        "phi/small.bin": 5,
        "phi/large.bin": 10_240_000,
    }
    command("volume", "get", "models", "phi/large.bin", str(tmp_path / "fetched.bin"))
    assert (tmp_path / "fetched.bin").read_bytes() == (weights / "large.bin").read_bytes()
    volume = modal.Volume.from_name("models")
    volume.remove_file("phi/small.bin")
    assert [one.path for one in volume.listdir("phi")] == ["phi/large.bin"]
    assert [one.name for one in modal.Volume.objects.list()] == ["models"]
    modal.Volume.objects.delete("models")
    assert modal.Volume.objects.list() == []


def test_containers_are_listed_and_stopped_and_what_they_printed_is_kept(
    cloud: Cloud, folder: Path, command: Command
) -> None:
    version, _ = modal.Function.from_name("daily", "version").remote()
    assert version == 1
    (container,) = cloud.plane.containers("daily", "version")
    listed = container.id
    assert listed in rows(command("container", "list", "--json"), "container_id")
    command("container", "stop", listed, "--yes")
    until(lambda: not cloud.plane.containers("daily", "version"))
    assert "asked for its version" in command("container", "logs", listed)


def test_an_input_of_a_stopped_container_runs_again_elsewhere(
    cloud: Cloud, folder: Path, tmp_path: Path, command: Command
) -> None:
    call = modal.Function.from_name("daily", "version").spawn(str(tmp_path / "gate"))
    until(lambda: any(one.running_inputs for one in cloud.plane.containers("daily", "version")))
    (first,) = cloud.plane.containers("daily", "version")
    command("container", "stop", first.id, "--yes")
    until(lambda: first.id not in [one.id for one in cloud.plane.containers("daily", "version")])
    (tmp_path / "gate").touch()
    assert call.get(timeout=GIVE_UP_S)[1] != first.pid


def test_a_new_version_takes_new_calls_while_the_old_one_finishes_what_it_is_at(
    cloud: Cloud, folder: Path, tmp_path: Path, command: Command
) -> None:
    under_way = modal.Function.from_name("daily", "version").spawn(str(tmp_path / "gate"))
    until(lambda: any(one.running_inputs for one in cloud.plane.containers("daily", "version")))
    cloud.deploy(folder, "daily_app", PROGRAM.replace("VERSION", "2"))
    assert modal.Function.from_name("daily", "version").remote()[0] == 2
    (tmp_path / "gate").touch()
    assert under_way.get(timeout=GIVE_UP_S)[0] == 1
    assert rows(command("app", "history", "daily", "--json"), "version") == ["v2", "v1"]


def test_a_spare_container_is_started_beside_one_at_work(cloud: Cloud, folder: Path) -> None:
    modal.Function.from_name("daily", "spare").remote()
    until(lambda: len(cloud.plane.containers("daily", "spare")) == 2)


def test_options_of_a_class_have_containers_of_their_own(cloud: Cloud, folder: Path) -> None:
    speaker = modal.Cls.from_name("daily", "Speaker")
    alone = speaker.with_options(max_containers=1, scaledown_window=60)()
    together = speaker.with_options(max_containers=1).with_concurrency(max_inputs=4)()

    async def pids() -> tuple[set[int], set[int]]:
        answers = await asyncio.gather(
            *(alone.together.remote.aio(0.1) for _ in range(3)),
            *(together.together.remote.aio(0.1) for _ in range(3)),
        )
        return set(answers[:3]), set(answers[3:])

    first, second = asyncio.run(pids())
    assert (len(first), len(second), len(first & second)) == (1, 1, 0)


def test_containers_are_kept_from_now_on_if_the_autoscaler_is_told_to(cloud: Cloud, folder: Path) -> None:
    spare = modal.Function.from_name("daily", "spare")
    spare.autoscaler.update(min_containers=3)
    until(lambda: len(cloud.plane.containers("daily", "spare")) == 3)


def test_an_app_is_listed_its_output_followed_until_it_is_stopped(
    cloud: Cloud, folder: Path, command: Command
) -> None:
    modal.Function.from_name("daily", "version").remote()
    with subprocess.Popen(
        [sys.executable, "-m", "modal", "app", "logs", "daily", "-f"], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert "asked for its version" in following.stdout.readline()
        assert "asked for its version" in command("app", "logs", "daily")
        assert "daily" in command("app", "list", "--json")
        command("app", "stop", "daily", "--yes")
        assert following.wait(GIVE_UP_S) == 0
    assert not cloud.plane.containers("daily")
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name("daily", "version").remote()
