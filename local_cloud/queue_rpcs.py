"""Requests about queues: `modal.Queue`, named or ephemeral, with its partitions."""

import collections
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from local_cloud.events import Signal
from local_cloud.state import State, first, found, not_found


@dataclass(eq=False)
class Queue:
    """A queue of bytes, by partition. It has no bound, and no value expires."""

    id: str
    name: str  # empty for an ephemeral one
    partitions: dict[bytes, collections.deque[bytes]] = field(
        default_factory=lambda: collections.defaultdict(collections.deque)
    )
    changed: Signal = field(default_factory=Signal)


class QueueRpcs:
    """Serves `modal.Queue.from_name`, `ephemeral`, `put`, `get`, `len`, `clear` and `delete`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._queues: dict[str, Queue] = {}

    async def queue_get_or_create(self, request: pb.QueueGetOrCreateRequest) -> pb.QueueGetOrCreateResponse:
        """Find a queue by name, or create one."""
        name = request.deployment_name
        queue = first(self._queues.values(), lambda one: bool(name) and one.name == name)
        if queue is None:
            if request.object_creation_type == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"Queue '{name}' not found")
            queue = Queue(self._state.new_id("qu"), name)
            self._queues[queue.id] = queue
        return pb.QueueGetOrCreateResponse(queue_id=queue.id, metadata=pb.QueueMetadata(name=name))

    async def queue_heartbeat(self, request: pb.QueueHeartbeatRequest) -> Empty:
        self._queue(request.queue_id)
        return Empty()

    async def queue_put(self, request: pb.QueuePutRequest) -> Empty:
        queue = self._queue(request.queue_id)
        queue.partitions[request.partition_key].extend(request.values)
        queue.changed.notify()
        return Empty()

    async def queue_get(self, request: pb.QueueGetRequest) -> pb.QueueGetResponse:
        """Wait for a value, up to the caller's time-out."""
        queue, key = self._queue(request.queue_id), request.partition_key
        await queue.changed.wait_until(lambda: bool(queue.partitions.get(key)), max(0.0, request.timeout))
        values = queue.partitions.pop(key, collections.deque())
        taken = [values.popleft() for _ in range(min(len(values), request.n_values))]
        if values:
            queue.partitions[key] = values
        return pb.QueueGetResponse(values=taken)

    async def queue_len(self, request: pb.QueueLenRequest) -> pb.QueueLenResponse:
        partitions = self._queue(request.queue_id).partitions
        keys = list(partitions) if request.total else [request.partition_key]
        return pb.QueueLenResponse(len=sum(len(partitions.get(key, ())) for key in keys))

    async def queue_clear(self, request: pb.QueueClearRequest) -> Empty:
        partitions = self._queue(request.queue_id).partitions
        for key in list(partitions) if request.all_partitions else [request.partition_key]:
            partitions.pop(key, None)
        return Empty()

    async def queue_delete(self, request: pb.QueueDeleteRequest) -> Empty:
        del self._queues[self._queue(request.queue_id).id]
        return Empty()

    def _queue(self, queue_id: str) -> Queue:
        return found(self._queues, queue_id, "Queue")
