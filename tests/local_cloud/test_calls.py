"""Real modal programs against the local control plane: deployed, looked up, called."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import modal
import pytest

from tests.support.control_plane_programs import Cloud
from tests.support.waiting import GIVE_UP_S, until, until_async

PROGRAM = """
import asyncio
import os
import time
import uuid
from pathlib import Path

import modal

app = modal.App("calls")

class Refused(Exception):
    def __init__(self, stage, retryable):
        super().__init__(stage, retryable)
        self.stage, self.retryable = stage, retryable

@app.function()
def double(n):
    return 2 * n

@app.function()
def refuse():
    raise Refused("tts", True)

@app.function()
def size(data):
    return data + data

@app.function()
def count(n):
    for i in range(n):
        yield i

@app.cls()
@modal.concurrent(max_inputs=4)
class Speaker:
    @modal.enter()
    def load(self):
        self.pid = os.getpid()
        self.active = self.most = 0

    @modal.method()
    async def together(self, folder):
        self.active += 1
        self.most = max(self.most, self.active)
        (Path(folder) / f"{self.pid} {uuid.uuid4()}").touch()
        while not (Path(folder) / "enough").exists():
            await asyncio.sleep(0.02)
        self.active -= 1
        return self.pid, self.most

    @modal.method()
    async def speak(self):
        try:
            yield modal.current_function_call_id()
            while True:
                await asyncio.sleep(0.02)
                yield "piece"
        finally:
            print("speaking stopped")

@app.cls()
class Voice:
    name: str = modal.parameter()

    @modal.method()
    def introduce(self):
        return self.name, os.getpid()

@app.function()
def sleep(seconds):
    time.sleep(seconds)
    return seconds

@app.local_entrypoint()
def main(n: int = 4):
    print("answer", double.remote(n))
"""


@pytest.fixture(scope="module", autouse=True)
def program(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    cloud.deploy(folder, "calls_app", PROGRAM)
    return folder


def function(name: str) -> modal.Function[..., object, object]:
    return modal.Function.from_name("calls", name)


def test_a_deployed_function_answers_a_call_by_name() -> None:
    assert function("double").remote(21) == 42


async def test_a_deployed_function_answers_an_asynchronous_call() -> None:
    assert await function("double").remote.aio(4) == 8


def test_a_name_that_is_not_deployed_is_not_found() -> None:
    with pytest.raises(modal.exception.NotFoundError):
        function("absent").remote()


def test_a_generator_yields_its_items_in_order() -> None:
    assert list(function("count").remote_gen(5)) == [0, 1, 2, 3, 4]


def test_an_exception_comes_back_with_its_attributes(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(program)
    with pytest.raises(Exception, match="tts") as raised:
        function("refuse").remote()
    assert raised.value.stage == "tts"  # type: ignore[attr-defined]
    assert raised.value.retryable is True  # type: ignore[attr-defined]


def test_a_large_payload_travels_both_ways() -> None:
    data = bytes(range(256)) * 12_000
    assert function("size").remote(data) == data + data


def test_a_spawned_call_is_awaited_by_its_id() -> None:
    call = function("double").spawn(5)
    assert modal.FunctionCall.from_id(call.object_id).get(timeout=GIVE_UP_S) == 10


@pytest.mark.parametrize("begun", [False, True])
def test_a_spawned_call_is_cancelled_before_it_begins_and_while_it_runs(cloud: Cloud, begun: bool) -> None:
    call = function("sleep").spawn(60)
    if begun:
        until(lambda: any(one.running_inputs for one in cloud.plane.containers("calls", "sleep")))
    call.cancel()
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=GIVE_UP_S)


async def together(folder: Path, calls: int, enough: Callable[[list[str]], bool]) -> list[tuple[int, int]]:
    """The answers of calls at once, which go on until those at work, by their containers, are enough."""
    speaker = modal.Cls.from_name("calls", "Speaker")()
    answers = asyncio.gather(*(speaker.together.remote.aio(str(folder)) for _ in range(calls)))
    await until_async(lambda: enough([one.name.split()[0] for one in folder.iterdir()]))
    (folder / "enough").touch()
    return list(await answers)


async def test_concurrent_inputs_share_a_container_up_to_their_limit(tmp_path: Path) -> None:
    answers = await together(tmp_path, 4, lambda at_work: len(at_work) == 4)
    assert len({pid for pid, _ in answers}) == 1
    assert max(most for _, most in answers) == 4


async def test_inputs_beyond_the_limit_of_a_container_bring_another(tmp_path: Path) -> None:
    answers = await together(tmp_path, 12, lambda at_work: len(set(at_work)) > 1)
    assert max(most for _, most in answers) <= 4
    assert len({pid for pid, _ in answers}) > 1


def test_each_parameter_of_a_class_has_containers_of_its_own() -> None:
    voice = modal.Cls.from_name("calls", "Voice")
    assert voice(name="low").introduce.remote()[0] == "low"
    assert voice(name="low").introduce.remote() != voice(name="high").introduce.remote()


def test_a_secret_that_does_not_exist_ends_the_deployment_by_name(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text(
        'import modal\napp = modal.App("needy")\nkey = modal.Secret.from_name("absent-key")\n'
        "@app.function(secrets=[key])\ndef f(): pass\n"
    )
    assert "absent-key" in cloud.modal(tmp_path, "deploy", "-m", "needy", fails=True).stderr


async def test_a_running_generator_is_cancelled_by_the_id_it_yields(cloud: Cloud) -> None:
    speaker = modal.Cls.from_name("calls", "Speaker")()
    items = speaker.speak.remote_gen.aio()
    call_id = await anext(items)
    await anext(items)
    await modal.FunctionCall.from_id(call_id).cancel.aio()
    with pytest.raises(modal.exception.RemoteError):
        async for _ in items:
            pass
    until(lambda: "speaking stopped" in cloud.plane.logs("calls"))


def test_modal_run_runs_the_local_entry_point(cloud: Cloud, program: Path) -> None:
    assert "answer 14" in cloud.modal(program, "run", "-m", "calls_app", "--n", "7").stdout
