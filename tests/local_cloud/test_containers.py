"""Containers of the local control plane: what they are made of, how many there are, how they end."""

import asyncio
from pathlib import Path

import modal
import pytest
from modal_proto import api_pb2 as pb

from local_cloud.files import VolumeLinks
from local_cloud.state import State, Volume
from tests.support.control_plane_programs import Cloud
from tests.support.waiting import GIVE_UP_S, until

HEAD = "import modal, os, time, sys, asyncio\nfrom pathlib import Path\n"
PROGRAM = (
    HEAD
    + """
app = modal.App("containers")
plain = modal.Image.debian_slim(python_version="3.11")
with_package = plain.pip_install("iniconfig==2.3.0").env({"GREETING": "good day"})
volume = modal.Volume.from_name("shelf", create_if_missing=True)

@app.function(image=with_package, secrets=[modal.Secret.from_name("tokens")], gpu="A10G:2", region="eu",
              timeout=100, min_containers=0, max_containers=3, scaledown_window=30)
def installed():
    import iniconfig
    from importlib.metadata import version
    return version("iniconfig"), os.environ["GREETING"], os.environ["HF_TOKEN"]

@app.function(image=plain)
def forgotten_package():
    import iniconfig

@app.function(image=plain.pip_install("iniconfig==0.0.1.dev999"))
def impossible():
    pass

@app.function(image=plain)
def forgotten_project():
    import orchestrator

@app.function(volumes={"VOLUME_PATH": volume})
def remember(text):
    shelf = Path("VOLUME_PATH") / "note"
    before = shelf.read_text() if shelf.exists() else ""
    shelf.write_text(text)
    volume.commit()
    return before

nowhere = plain.env({"SHELF": "/proc/nowhere/notes"})  # where nobody may make a link

@app.function(image=nowhere, volumes={"/proc/nowhere": volume})
def remember_by_variable(text):
    Path(os.environ["SHELF"]).write_text(text)

@app.function(volumes={"/proc/nowhere": volume})
def remember_by_path(text):
    pass

@app.function()
def bytecode():
    folder = Path(__file__).parent / "__pycache__"
    return os.getpid(), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

@app.function(max_containers=2)
def meet(folder):
    (Path(folder) / str(os.getpid())).touch()
    while len(os.listdir(folder)) < 2:
        time.sleep(0.02)
    return os.getpid()

@app.function(min_containers=1, scaledown_window=2)
def waiting():
    return os.getpid()

@app.cls(scaledown_window=2, gpu="A10G", enable_memory_snapshot=True,
         experimental_options={"enable_gpu_snapshot": True})
class Snapshotted:
    @modal.enter(snap=True)
    def before(self):
        self.steps = ["before"]

    @modal.enter(snap=False)
    def after(self):
        self.steps.append("after")

    @modal.exit()
    def leave(self):
        print("left the stage")

    @modal.method()
    def order(self):
        return self.steps
"""
)
FAILURES = (
    HEAD
    + """
app = modal.App("failures")

@app.function()
def die():
    os._exit(3)

@app.function()
def alive():
    return "alive"

@app.function(retries=modal.Retries(max_retries=1, initial_delay=0.0))
def second_time(path):
    tries = Path(path)
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) < 2:
        raise ValueError("not yet")
    return tries.read_text()

@app.function()
def twice(path):
    started = Path(path)
    started.write_text(started.read_text() + "x" if started.exists() else "x")
    time.sleep(60 if len(started.read_text()) == 1 else 0)
    return started.read_text()

@app.function()
def pieces(path):
    attempt = Path(path)
    attempt.write_text(attempt.read_text() + "x" if attempt.exists() else "x")
    for number in range(4):
        yield len(attempt.read_text()), number
        time.sleep(60 if number == 1 and attempt.read_text() == "x" else 0)

@app.function(timeout=1)
def slow():
    time.sleep(60)

@app.cls()
class Broken:
    @modal.enter()
    def load(self):
        raise RuntimeError("no weights here")

    @modal.method()
    def f(self):
        pass

@app.cls()
class Looping:
    @modal.enter()
    def load(self):
        os._exit(9)

    @modal.method()
    def f(self):
        pass

@app.cls(startup_timeout=2)
class Slow:
    @modal.enter()
    def load(self):
        time.sleep(60)

    @modal.method()
    def f(self):
        pass
"""
)


@pytest.fixture(scope="module", autouse=True)
def _programs(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("containers")
    cloud.plane.create_secret("tokens", {"HF_TOKEN": "hf-secret"})
    cloud.deploy(folder, "containers_app", PROGRAM.replace("VOLUME_PATH", str(folder / "shelf")))
    cloud.deploy(folder, "failures_app", FAILURES)


def function(app: str, name: str) -> modal.Function[..., object, object]:
    return modal.Function.from_name(app, name)


def test_a_container_has_the_images_packages_variables_and_secrets() -> None:
    assert function("containers", "installed").remote() == ("2.3.0", "good day", "hf-secret")


def test_what_a_function_asks_for_is_on_record(cloud: Cloud) -> None:
    asked = cloud.plane.app("containers").function("installed")
    assert (asked.gpu, asked.gpu_count, asked.regions) == ("A10G", 2, ("eu",))
    assert (asked.timeout_s, asked.max_containers, asked.scaledown_window_s) == (100, 3, 30)
    assert asked.secrets == ("tokens",)
    assert asked.image.pip_installs == (("iniconfig==2.3.0",),)
    assert asked.image.env["GREETING"] == "good day"
    assert "/root/containers_app.py" in asked.mounted
    snapshotted = cloud.plane.app("containers").cls("Snapshotted")
    assert snapshotted.memory_snapshot
    assert snapshotted.gpu_snapshot


@pytest.mark.parametrize(
    ("name", "module"), [("forgotten_package", "iniconfig"), ("forgotten_project", "orchestrator")]
)
def test_what_an_image_forgets_is_missing_by_name(name: str, module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=module):
        function("containers", name).remote()


def test_containers_with_the_same_sources_compile_them_once(cloud: Cloud) -> None:
    bytecode = modal.Function.from_name("containers", "bytecode")
    first, compiled = bytecode.remote()
    (container,) = cloud.plane.containers("containers", "bytecode")
    cloud.plane.kill(container.id)
    until(lambda: not cloud.plane.containers("containers", "bytecode"))
    second, found = bytecode.remote()
    assert second != first
    assert found == compiled
    assert any(name.startswith("containers_app.") for name in compiled)


def test_a_package_that_cannot_be_installed_is_told_to_the_caller() -> None:
    with pytest.raises(modal.exception.RemoteError, match="iniconfig"):
        function("containers", "impossible").remote()


def test_a_volume_outlives_the_container_that_wrote_to_it(cloud: Cloud) -> None:
    assert function("containers", "remember").remote("first") == ""
    (container,) = cloud.plane.containers("containers", "remember")
    cloud.plane.preempt(container.id)
    assert function("containers", "remember").remote("second") == "first"


def test_a_volume_at_a_path_that_needs_root_is_where_a_variable_names_it(
    cloud: Cloud, tmp_path: Path
) -> None:
    function("containers", "remember_by_variable").remote("kept")
    cloud.modal(tmp_path, "volume", "get", "shelf", "notes", str(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "kept"


def test_a_volume_that_cannot_be_where_its_path_says_is_an_error_if_no_variable_names_it() -> None:
    with pytest.raises(modal.exception.RemoteError, match="no volume can be put at /proc/nowhere"):
        function("containers", "remember_by_path").remote("lost")


def test_a_link_to_a_volume_that_a_killed_control_plane_left_is_replaced(tmp_path: Path) -> None:
    left, ours = VolumeLinks(), VolumeLinks()
    place = tmp_path / "weights"
    place.symlink_to(tmp_path / "of one that was killed")
    state, mounts = a_volume(tmp_path, place)
    assert ours.mount(state, mounts) == {}
    assert place.readlink() == tmp_path / "shelf"
    assert left.mount(state, mounts) == {str(place): tmp_path / "shelf"}  # while it is in use
    ours.remove()
    left.remove()
    assert not place.is_symlink()


def a_volume(folder: Path, place: Path) -> tuple[State, list[pb.VolumeMount]]:
    """A control plane's state with one volume, and what a function says that has it at a place."""
    state = State(folder)
    state.volumes["vo-1"] = Volume("vo-1", "shelf", folder / "shelf")
    return state, [pb.VolumeMount(volume_id="vo-1", mount_path=str(place))]


async def test_load_brings_more_containers_up_to_the_limit(tmp_path: Path) -> None:
    meet = function("containers", "meet")
    pids = await asyncio.gather(*(meet.remote.aio(str(tmp_path)) for _ in range(4)))
    assert len(set(pids)) == 2


def test_containers_that_are_to_be_kept_are_there_before_the_first_call(cloud: Cloud) -> None:
    until(lambda: any(one.ready for one in cloud.plane.containers("containers", "waiting")))
    assert function("containers", "waiting").remote() in [
        one.pid for one in cloud.plane.containers("containers", "waiting")
    ]


def test_a_snapshot_goes_through_its_steps_and_an_idle_container_leaves_through_its_exit(
    cloud: Cloud,
) -> None:
    assert modal.Cls.from_name("containers", "Snapshotted")().order.remote() == ["before", "after"]
    until(lambda: not cloud.plane.containers("containers", "Snapshotted.*"))
    assert "left the stage" in cloud.plane.logs("containers")


def test_a_dead_container_is_an_error_to_its_caller_and_another_takes_the_next_call() -> None:
    with pytest.raises(modal.exception.InternalFailure):
        function("failures", "die").remote()
    assert function("failures", "alive").remote() == "alive"
    with pytest.raises(modal.exception.InternalFailure):
        function("failures", "die").remote()


def test_a_killed_container_is_replaced(cloud: Cloud) -> None:
    function("failures", "alive").remote()
    (container,) = cloud.plane.containers("failures", "alive")
    cloud.plane.kill(container.id)
    until(lambda: not cloud.plane.containers("failures", "alive"))
    assert function("failures", "alive").remote() == "alive"


def test_a_failure_is_retried_as_often_as_the_function_says(tmp_path: Path) -> None:
    assert function("failures", "second_time").remote(str(tmp_path / "tries")) == "xx"


def test_a_preempted_input_runs_again_from_the_start(cloud: Cloud, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    call = function("failures", "twice").spawn(str(starts))
    until(lambda: starts.exists() and starts.read_text())
    (container,) = cloud.plane.containers("failures", "twice")
    cloud.plane.preempt(container.id)
    assert call.get(timeout=GIVE_UP_S) == "xx"


def test_a_preempted_generator_goes_on_with_the_tail_of_its_second_attempt(
    cloud: Cloud, tmp_path: Path
) -> None:
    items = function("failures", "pieces").remote_gen(str(tmp_path / "attempts"))
    assert [next(items), next(items)] == [(1, 0), (1, 1)]
    (container,) = cloud.plane.containers("failures", "pieces")
    cloud.plane.preempt(container.id)
    assert list(items) == [(2, 2), (2, 3)]


def test_an_input_that_runs_too_long_times_out() -> None:
    with pytest.raises(modal.exception.FunctionTimeoutError):
        function("failures", "slow").remote()


def test_a_start_that_takes_too_long_times_out() -> None:
    with pytest.raises(modal.exception.FunctionTimeoutError, match="ready"):
        modal.Cls.from_name("failures", "Slow")().f.remote()


def test_an_error_while_loading_reaches_the_caller() -> None:
    with pytest.raises(RuntimeError, match="no weights here"):
        modal.Cls.from_name("failures", "Broken")().f.remote()


def test_a_crash_loop_is_ended() -> None:
    with pytest.raises(modal.exception.RemoteError, match="crash loop"):
        modal.Cls.from_name("failures", "Looping")().f.remote()
