"""How inputs end: their results, given once, and the events about them."""

import re
import time

from modal_proto import api_pb2 as pb

from local_cloud.events import Kind
from local_cloud.state import Input

Status = pb.GenericResult
_KINDS = {
    Status.GENERIC_STATUS_SUCCESS: Kind.OK,
    Status.GENERIC_STATUS_TERMINATED: Kind.CANCELLED,
    Status.GENERIC_STATUS_TIMEOUT: Kind.TIMED_OUT,
}


def failed(status: "pb.GenericResult.GenericStatus.ValueType", message: str) -> pb.GenericResult:
    """Return a result that has no value, only a reason."""
    return pb.GenericResult(status=status, exception=message)


def finish(item: Input, output: pb.FunctionPutOutputsItem) -> None:
    """Give an input its output, once: a later one is dropped."""
    call = item.call
    if item.id in call.outputs:
        return
    container = item.container
    if container is not None:
        container.running.pop(item.id, None)
        container.last_used_at = time.monotonic()
    call.outputs[item.id] = pb.FunctionGetOutputsItem(
        result=output.result,
        idx=item.index,
        input_id=item.id,
        data_format=output.data_format,
        task_id=container.id if container else "",
        input_started_at=output.input_started_at,
        output_created_at=output.output_created_at,
        retry_count=item.attempt,
    )
    if call.done:
        call.finished_at = time.monotonic()
    call.changed.notify()
    _emit(item, output.result)


def finish_with(item: Input, result: pb.GenericResult) -> None:
    """Give an input a result that does not come from its container."""
    finish(item, pb.FunctionPutOutputsItem(input_id=item.id, result=result))


def cancel(item: Input) -> None:
    """Cancel an input, wherever it is."""
    item.cancelled = True
    if item.container is not None and item.id in item.container.running:
        item.container.to_cancel.append(item.id)
        item.container.changed.notify()
        return
    if item in item.call.function.queue:
        item.call.function.queue.remove(item)
    finish_with(item, failed(Status.GENERIC_STATUS_TERMINATED, "Input was cancelled"))


def _emit(item: Input, result: pb.GenericResult) -> None:
    took_s = time.monotonic() - item.created_at
    kind = _KINDS.get(result.status, Kind.FAILED)
    text = f"{item.title} after {took_s:.2f} s"
    if kind is Kind.FAILED:
        raised = re.match(r"([\w.]+)\(", result.exception)
        text += f": {raised[1] if raised else result.exception}"
    item.call.logs.event(kind, item.call.function.app.name, text)
