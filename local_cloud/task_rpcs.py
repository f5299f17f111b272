"""Requests about containers from outside: listed, described, stopped, and what they have printed."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2 as pb

from local_cloud.logs import LogLine
from local_cloud.scheduler import Scheduler
from local_cloud.state import State, found, not_found

DEFAULT_FOLLOW_S = 55.0


class TaskRpcs:
    """Serves `modal container`."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state = state
        self._scheduler = scheduler

    async def task_list(self, request: pb.TaskListRequest) -> pb.TaskListResponse:
        response = pb.TaskListResponse()
        for container in self._state.containers.values():
            app = container.function.app
            if request.app_id in ("", app.id):
                at = container.created_at
                response.tasks.add(
                    task_id=container.id,
                    app_id=app.id,
                    app_description=app.name,
                    started_at=at,
                    enqueued_at=at,
                )
        return response

    async def task_get_info(self, request: pb.TaskGetInfoRequest) -> pb.TaskGetInfoResponse:
        """Describe a container that runs, or one that has gone by what it has printed."""
        container = self._state.containers.get(request.task_id)
        if container is not None:
            info = pb.TaskInfo(
                id=container.id, enqueued_at=container.created_at, started_at=container.created_at
            )
            return pb.TaskGetInfoResponse(app_id=container.function.app.id, info=info)
        lines = self._state.logs.of_container(request.task_id)
        if not lines:
            raise not_found(f"Container '{request.task_id}' not found")
        first_at, last_at = lines[0].at - 1, lines[-1].at + 1
        info = pb.TaskInfo(id=request.task_id, enqueued_at=first_at, started_at=first_at, finished_at=last_at)
        return pb.TaskGetInfoResponse(app_id=lines[0].app_id, info=info)

    async def container_stop(self, request: pb.ContainerStopRequest) -> pb.ContainerStopResponse:
        """End a container once it has finished what it is at, or now: that runs again elsewhere."""
        container = found(self._state.containers, request.task_id, "Container")
        self._scheduler.stop(container, "asked to")
        if not request.graceful:
            container.interrupt()
        return pb.ContainerStopResponse()


class LogRpcs:
    """Serves `modal app logs` and the output of `modal run`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def app_get_logs(self, request: pb.AppGetLogsRequest) -> AsyncIterator[pb.TaskLogsBatch]:
        """Follow an app's lines until its last container has gone, or one container's."""
        position = int(request.last_entry_id.split("-")[0] or 0) if request.last_entry_id else 0
        over = partial(self._gone if request.task_id else self._over, request)

        def news() -> Sequence[LogLine]:
            if request.task_id:
                lines = self._state.logs.of_container(request.task_id)
                return [line for line in lines if line.position > position]
            return self._state.logs.after(request.app_id, position)

        within_s = request.timeout or DEFAULT_FOLLOW_S
        while await self._state.logs.changed.wait_until(lambda: over() or bool(news()), within_s):
            for line in news():
                position = line.position
                yield line.as_batch()
            if over():
                yield pb.TaskLogsBatch(app_done=True)
                return

    async def app_count_logs(self, request: pb.AppCountLogsRequest) -> pb.AppCountLogsResponse:
        """Count an app's lines in buckets of time; empty buckets are left out."""
        response = pb.AppCountLogsResponse(app_id=request.app_id)
        buckets: dict[int, pb.AppCountLogsResponse.LogBucket] = {}
        for line in self._lines(request.app_id, request.since, request.until):
            start = int(line.at // request.bucket_secs) * request.bucket_secs
            if start not in buckets:
                buckets[start] = response.buckets.add(bucket_start_at=Timestamp(seconds=start))
            if line.stream == pb.FILE_DESCRIPTOR_STDERR:
                buckets[start].stderr_logs += 1
            else:
                buckets[start].stdout_logs += 1
        return response

    async def app_fetch_logs(self, request: pb.AppFetchLogsRequest) -> pb.AppFetchLogsResponse:
        """Return an app's last lines of a time."""
        lines = self._lines(request.app_id, request.since, request.until)
        wanted = [
            line
            for line in lines
            if request.task_id in ("", line.container_id)
            and request.function_id in ("", line.function_id)
            and request.search_text in line.text
            and request.source in (pb.FILE_DESCRIPTOR_UNSPECIFIED, line.stream)
        ]
        return pb.AppFetchLogsResponse(
            batches=[line.as_batch() for line in wanted[-(request.limit or 10_000) :]]
        )

    def _over(self, request: pb.AppGetLogsRequest) -> bool:
        app = found(self._state.apps, request.app_id, "App")
        return app.stopped and not any(one.function.app is app for one in self._state.containers.values())

    def _gone(self, request: pb.AppGetLogsRequest) -> bool:
        return request.task_id not in self._state.containers

    def _lines(self, app_id: str, since: Timestamp, until: Timestamp) -> list[LogLine]:
        return list(self._state.logs.between(app_id, _seconds(since), _seconds(until)))


def _seconds(moment: Timestamp) -> float:
    return float(moment.seconds + moment.nanos / 1e9)
