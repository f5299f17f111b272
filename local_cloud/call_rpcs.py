"""Requests of callers: calls made, retried, awaited, cancelled."""

import itertools
from collections.abc import AsyncIterator
from functools import partial

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from local_cloud.events import Kind
from local_cloud.outcomes import cancel
from local_cloud.scheduler import Scheduler
from local_cloud.state import Call, Input, State, found, not_found


class CallRpcs:
    """Serves `.remote`, `.remote_gen`, `.spawn` and `FunctionCall`."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state = state
        self._scheduler = scheduler

    async def function_map(self, request: pb.FunctionMapRequest) -> pb.FunctionMapResponse:
        """Open a call, with its first inputs."""
        function = found(self._state.functions, request.function_id, "Function")
        if function.app.stopped:
            raise not_found(f"App '{function.app.name}' is stopped")
        call_id = self._state.new_id("fc")
        call = Call(call_id, function, request.function_call_invocation_type, self._state.logs)
        self._state.calls[call.id] = call
        return pb.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            retry_policy=function.definition.retry_policy,
            sync_client_retries_enabled=True,
            max_inputs_outstanding=1000,
            pipelined_inputs=[self._put(call, item) for item in request.pipelined_inputs],
        )

    async def function_put_inputs(self, request: pb.FunctionPutInputsRequest) -> pb.FunctionPutInputsResponse:
        call = self._call(request.function_call_id)
        return pb.FunctionPutInputsResponse(inputs=[self._put(call, item) for item in request.inputs])

    async def function_retry_inputs(
        self, request: pb.FunctionRetryInputsRequest
    ) -> pb.FunctionRetryInputsResponse:
        """Retry inputs, as their caller asks."""
        for retried in request.inputs:
            item = found(self._state.inputs, retried.input_jwt, "Input")
            item.attempt += 1
            item.call.outputs.pop(item.id, None)
            item.call.finished_at = None
            self._emit(Kind.RETRIED, item)
            self._scheduler.enqueue(item)
        return pb.FunctionRetryInputsResponse(input_jwts=[one.input_jwt for one in request.inputs])

    async def function_get_outputs(
        self, request: pb.FunctionGetOutputsRequest
    ) -> pb.FunctionGetOutputsResponse:
        """Wait for outputs, up to the caller's time-out."""
        call = self._state.calls.get(request.function_call_id)
        if call is None:
            return pb.FunctionGetOutputsResponse()
        last = request.end_idx if request.HasField("end_idx") else len(call.inputs)

        def wanted() -> list[pb.FunctionGetOutputsItem]:
            return [one for one in call.outputs.values() if request.start_idx <= one.idx <= last]

        await call.changed.wait_until(lambda: bool(wanted()), max(0.0, request.timeout))
        unfinished = len(call.inputs) - len(call.outputs)
        return pb.FunctionGetOutputsResponse(
            outputs=wanted(), last_entry_id="1-0", num_unfinished_inputs=unfinished
        )

    async def function_call_get_data_out(
        self, request: pb.FunctionCallGetDataRequest
    ) -> AsyncIterator[pb.DataChunk]:
        """Yield what the call's generator has yielded and will yield, in order."""
        call = self._call(request.function_call_id)
        for index in itertools.count(request.last_index + 1):
            await call.changed.wait_until(partial(_has_item_or_is_done, call, index))
            if index not in call.items:
                return
            yield call.items[index]

    async def function_call_cancel(self, request: pb.FunctionCallCancelRequest) -> Empty:
        """Cancel the remaining inputs of a call; with `terminate_containers`, preempt their containers."""
        call = self._call(request.function_call_id)
        for item in call.inputs.values():
            if item.id in call.outputs:
                continue
            container = item.container
            cancel(item)
            if request.terminate_containers and container is not None:
                self._scheduler.preempt(container)
        return Empty()

    async def function_call_from_id(
        self, request: pb.FunctionCallFromIdRequest
    ) -> pb.FunctionCallFromIdResponse:
        call = self._call(request.function_call_id)
        metadata = pb.FunctionCallHandleMetadata(app_id=call.function.app.id, function_id=call.function.id)
        return pb.FunctionCallFromIdResponse(
            function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata
        )

    def _call(self, call_id: str) -> Call:
        return found(self._state.calls, call_id, "FunctionCall")

    def _put(self, call: Call, put: pb.FunctionPutInputsItem) -> pb.FunctionPutInputsResponseItem:
        item = Input(self._state.new_id("in"), call, put.idx, put.input)
        self._state.inputs[item.id] = call.inputs[item.id] = item
        self._emit(Kind.CALL, item)
        self._scheduler.enqueue(item)
        return pb.FunctionPutInputsResponseItem(idx=put.idx, input_id=item.id, input_jwt=item.id)

    def _emit(self, kind: Kind, item: Input) -> None:
        self._state.logs.event(kind, item.call.function.app.name, item.title)


def _has_item_or_is_done(call: Call, index: int) -> bool:
    return index in call.items or call.done
