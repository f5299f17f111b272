"""Requests of containers: inputs taken, outputs given, heartbeats, snapshots."""

import asyncio
import time

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from local_cloud.container import HEARTBEAT_S, Container
from local_cloud.events import Kind
from local_cloud.outcomes import finish
from local_cloud.scheduler import Scheduler, next_taker
from local_cloud.state import Input, State

INPUT_POLL_S = 20.0
HEARTBEAT_ANSWER_S = HEARTBEAT_S - 0.1


class ContainerRpcs:
    """Serves one container, identified by the socket that it uses."""

    def __init__(self, state: State, scheduler: Scheduler, container: Container) -> None:
        self._state = state
        self._scheduler = scheduler
        self._container = container

    async def container_hello(self, request: Empty) -> Empty:
        return Empty()

    async def function_get_inputs(self, request: pb.FunctionGetInputsRequest) -> pb.FunctionGetInputsResponse:
        """Wait for an input, or for the end of inputs."""
        container, function = self._container, self._container.function
        if not container.ready:
            self._ready()
        container.asking = True
        try:
            await function.changed.wait_until(
                lambda: container.stopping or next_taker(function) is container,
                within_s=INPUT_POLL_S,
            )
            if container.stopping:
                return pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])
            if next_taker(function) is not container:
                return pb.FunctionGetInputsResponse()
            return pb.FunctionGetInputsResponse(inputs=[_handed_out(self._scheduler.take(container))])
        finally:
            container.asking = False

    async def function_put_outputs(self, request: pb.FunctionPutOutputsRequest) -> Empty:
        """Accept outputs, except for inputs that have been taken away."""
        for output in request.outputs:
            item = self._own(output.input_id)
            if item is not None and not self._abandoned(item, output):
                self._container.running.pop(item.id, None)
                finish(item, output)
        self._scheduler.scale(self._container.function)
        return Empty()

    async def function_call_put_data_out(self, request: pb.FunctionCallPutDataRequest) -> Empty:
        """Accept a generator's items; of a second attempt, only those that the first had not yielded."""
        call = self._state.calls.get(request.function_call_id)
        if call is not None and any(self._own(input_id) for input_id in call.inputs):
            for chunk in request.data_chunks:
                call.items.setdefault(chunk.index, chunk)
            call.changed.notify()
        return Empty()

    async def container_heartbeat(
        self, request: pb.ContainerHeartbeatRequest
    ) -> pb.ContainerHeartbeatResponse:
        """Answer at once if inputs are to be cancelled, else late."""
        container = self._container
        if not await container.changed.wait_until(lambda: bool(container.to_cancel), HEARTBEAT_ANSWER_S):
            return pb.ContainerHeartbeatResponse()
        ids, container.to_cancel = container.to_cancel, []
        # A synchronous method with concurrent inputs ends its whole container on this: no crash.
        container.asked_to_cancel = True
        return pb.ContainerHeartbeatResponse(cancel_input_event=pb.CancelInputEvent(input_ids=ids))

    async def container_checkpoint(self, request: pb.ContainerCheckpointRequest) -> Empty:
        """Let the container continue as if its memory had been saved and restored."""
        self._emit(Kind.SNAPSHOT, "simulated: nothing was saved")
        # The container waits for it only after it has closed this connection.
        asyncio.get_running_loop().call_later(0.2, self._container.restore)
        return Empty()

    async def container_server_lifecycle_ready(
        self, request: pb.ContainerServerLifecycleReadyRequest
    ) -> Empty:
        """A server's container has run its enter methods: it takes no inputs, but connections."""
        self._ready()
        return Empty()

    async def task_result(self, request: pb.TaskResultRequest) -> Empty:
        """Keep why the container could not start, for its callers."""
        self._container.result = request.result
        return Empty()

    async def function_get_dynamic_concurrency(
        self, request: pb.FunctionGetDynamicConcurrencyRequest
    ) -> pb.FunctionGetDynamicConcurrencyResponse:
        return pb.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    def _ready(self) -> None:
        self._container.ready = True
        self._container.last_used_at = time.monotonic()
        self._container.function.failed_starts = 0
        took_s = time.monotonic() - self._container.started_at
        self._emit(Kind.READY, f"after {took_s:.2f} s")

    def _emit(self, kind: Kind, how: str) -> None:
        container = self._container
        self._state.logs.event(kind, container.function.app.name, f"{container.title} {how}")

    def _abandoned(self, item: Input, output: pb.FunctionPutOutputsItem) -> bool:
        """Whether the container ended it because it was interrupted: it is retried elsewhere."""
        terminated = output.result.status == pb.GenericResult.GENERIC_STATUS_TERMINATED
        return terminated and self._container.interrupted and not item.cancelled

    def _own(self, input_id: str) -> Input | None:
        item = self._state.inputs.get(input_id)
        return item if item is not None and item.container is self._container else None


def _handed_out(item: Input) -> pb.FunctionGetInputsItem:
    return pb.FunctionGetInputsItem(
        input_id=item.id,
        input=item.payload,
        function_call_id=item.call.id,
        function_call_invocation_type=item.call.invocation_type,
        retry_count=item.attempt,
        function_map_idx=item.index,
    )
