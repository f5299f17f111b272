"""Troubles that a test has the local control plane make, as callers and containers meet them."""

import asyncio
import time
from pathlib import Path

import modal
import pytest
from grpclib import Status

from local_cloud.env_file import identity_at
from tests.support.control_plane_programs import Cloud
from tests.support.waiting import GIVE_UP_S, until

PROGRAM = """
import asyncio, os, modal

app = modal.App("troubled")

@app.function()
def double(n):
    return 2 * n

@app.function()
def quadruple(n):
    return 4 * n

@app.function()
def twice(path):
    with open(path, "a") as starts:
        starts.write("x")
    if os.path.getsize(path) == 1:
        os._exit(3)
    return os.getpid()
"""


@pytest.fixture(scope="module", autouse=True)
def _program(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    cloud.deploy(tmp_path_factory.mktemp("troubled"), "troubled_app", PROGRAM)


def function(name: str) -> modal.Function[..., object, object]:
    return modal.Function.from_name("troubled", name)


def test_a_call_beyond_the_quota_is_refused_until_there_is_room_again(cloud: Cloud) -> None:
    with cloud.plane.refuse(), pytest.raises(modal.exception.ResourceExhaustedError, match="quota"):
        function("double").remote(1)
    assert function("double").remote(1) == 2


def test_a_token_that_is_not_accepted_is_an_error_of_authentication(cloud: Cloud) -> None:
    with (
        cloud.plane.refuse("FunctionGet", Status.UNAUTHENTICATED, "token"),
        pytest.raises(modal.exception.AuthError, match="token"),
    ):
        function("double").hydrate()


def test_without_capacity_an_input_waits_for_its_container_and_others_get_theirs(cloud: Cloud) -> None:
    with cloud.plane.no_capacity("troubled", "quadruple"):
        waiting = function("quadruple").spawn(1)
        assert function("double").remote(2) == 4
        with pytest.raises(TimeoutError):
            waiting.get(timeout=0)
        assert not cloud.plane.containers("troubled", "quadruple")
    assert waiting.get(timeout=GIVE_UP_S) == 4


def test_a_container_that_starts_slowly_is_there_before_it_is_ready(cloud: Cloud) -> None:
    for container in cloud.plane.containers("troubled"):
        cloud.plane.preempt(container.id)
    until(lambda: not cloud.plane.containers("troubled"))
    with cloud.plane.slow_starts(2 * GIVE_UP_S, "troubled", "double"):
        call = function("double").spawn(3)
        assert function("quadruple").remote(1) == 4  # meanwhile another one has started
        (container,) = cloud.plane.containers("troubled", "double")
        assert (container.pid, container.ready) == (None, False)
    cloud.plane.preempt(container.id)
    assert call.get(timeout=GIVE_UP_S) == 6


@pytest.mark.parametrize("request_name", [None, "FunctionMap"])
def test_a_slow_network_delays_every_request_or_those_of_a_name(
    cloud: Cloud, request_name: str | None
) -> None:
    function("double").remote(4)
    began = time.monotonic()
    with cloud.plane.slow_network(0.2, request_name):
        assert function("double").remote(4) == 8
    assert time.monotonic() - began >= 0.2


async def test_a_call_outlives_a_network_that_fails_and_comes_back(cloud: Cloud) -> None:
    port = int(cloud.plane.environ["MODAL_SERVER_URL"].rpartition(":")[2])
    with cloud.plane.no_capacity("troubled", "quadruple"):
        for container in cloud.plane.containers("troubled", "quadruple"):
            cloud.plane.preempt(container.id)
        spawned = await function("quadruple").spawn.aio(2)
        call = asyncio.ensure_future(spawned.get.aio())
        await asyncio.sleep(0.2)  # it may ask for its result before the network fails, or while it does
        with cloud.plane.no_network():
            assert await identity_at("127.0.0.1", port) is None
    assert await call == 8


def test_an_input_of_a_container_that_dies_runs_again_where_that_is_wanted(
    cloud: Cloud, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    with cloud.plane.rerun_crashed("troubled"):
        function("twice").remote(str(starts))
    assert starts.read_text() == "xx"
