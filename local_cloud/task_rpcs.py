"""Requests about containers from outside: listed, looked at, stopped."""

from modal_proto import api_pb2 as pb

from local_cloud.scheduler import Scheduler
from local_cloud.state import State, found, not_found


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
