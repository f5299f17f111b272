"""Which container gets an input."""

from pathlib import Path

import pytest
from modal_proto import api_pb2 as pb

from local_cloud.container import Container
from local_cloud.logs import LogBook
from local_cloud.scheduler import next_taker
from local_cloud.state import App, Call, Function, Input


@pytest.fixture
def function() -> Function:
    """With a call that waits, and three containers that ask for it, each meant for one and open to two."""
    app = App("ap-1", "app", pb.APP_STATE_DEPLOYED)
    made = Function("fu-1", app, pb.Function(target_concurrent_inputs=1, max_concurrent_inputs=2))
    for number in range(3):
        container = Container(f"ta-{number}", made, Path("unused"), ready=True, asking=True)
        made.containers[container.id] = container
    made.queue.append(call_of(made))
    return made


def call_of(function: Function) -> Input:
    call = Call("fc-1", function, pb.FUNCTION_CALL_INVOCATION_TYPE_SYNC, LogBook())
    return Input("in-1", call, 0, pb.FunctionInput())


def work(function: Function, container_id: str) -> None:
    function.containers[container_id].running["in-2"] = call_of(function)


def taker(function: Function) -> str | None:
    container = next_taker(function)
    return container.id if container else None


def test_it_is_the_oldest_of_those_without_work(function: Function) -> None:
    assert taker(function) == "ta-0"


def test_a_container_with_its_target_of_work_gets_no_more_while_another_has_room(function: Function) -> None:
    work(function, "ta-0")
    assert taker(function) == "ta-1"


def test_where_none_has_room_the_oldest_bursts_above_its_target(function: Function) -> None:
    for container_id in function.containers:
        work(function, container_id)
    assert taker(function) == "ta-0"


def test_a_container_that_does_not_ask_or_is_to_stop_gets_none(function: Function) -> None:
    function.containers["ta-0"].asking = False
    function.containers["ta-1"].stopping = True
    assert taker(function) == "ta-2"


def test_nobody_gets_what_is_not_there(function: Function) -> None:
    function.queue.clear()
    assert taker(function) is None
