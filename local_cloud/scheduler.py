"""Which containers run: started under load, stopped when idle, replaced when they die."""

import asyncio
import math
import shutil
import signal
import time

from grpclib import GRPCError
from modal_proto import api_pb2 as pb

from local_cloud.container import Container
from local_cloud.events import Kind
from local_cloud.outcomes import Status, cancel, failed, finish_with
from local_cloud.starter import Starter, StartFailed
from local_cloud.state import App, Function, Input, State
from local_cloud.troubles import Troubles

CHECK_EVERY_S = 0.1
GRACE_S = 5.0  # from the stop signal to the kill
FAILED_STARTS_ALLOWED = 3
CRASHES_ALLOWED = 3  # of one input, which its caller may retry


class Scheduler:
    """Runs the containers that the functions' queues and settings ask for."""

    def __init__(self, state: State, starter: Starter, troubles: Troubles) -> None:
        self._state = state
        self._troubles = troubles
        self._starter = starter
        self._lives: set[asyncio.Task[None]] = set()
        self._closed = False

    def enqueue(self, item: Input, *, first: bool = False) -> None:
        """Queue an input and start what it needs."""
        item.container = None
        queue = item.call.function.queue
        (queue.appendleft if first else queue.append)(item)
        item.call.function.changed.notify()
        self.scale(item.call.function)

    def take(self, container: Container) -> Input:
        """Give the next input to a container."""
        item = container.function.queue.popleft()
        container.function.changed.notify()  # the one after it may have another taker
        item.container, item.started_at = container, time.monotonic()
        container.running[item.id] = item
        container.last_used_at = time.monotonic()
        return item

    def scale(self, function: Function) -> None:
        """Start the containers that the function lacks."""
        if self._closed or function.app.stopped or self._troubles.without_capacity(function):
            return
        for _ in range(self._wanted(function) - len(function.live_containers)):
            self._start(function)

    def wake(self, function: Function) -> None:
        """Start a container of a server that has none: a request came."""
        if not (self._closed or function.live_containers or self._troubles.without_capacity(function)):
            self._start(function)

    def scale_all(self) -> None:
        """Start the containers that functions lack."""
        for function in list(self._state.functions.values()):
            self.scale(function)

    def replace(self, app: App) -> None:
        """After a deployment: old containers finish their inputs, new ones take new inputs."""
        for container in self._containers_of(app):
            self.stop(container, f"replaced by version {app.version}")
        for function in list(self._state.functions.values()):
            if function.app is app:
                function.failed_starts = 0
                self.scale(function)

    def stop_app(self, app: App) -> None:
        """End an app with all that it runs."""
        app.state, app.stopped_at = pb.APP_STATE_STOPPED, time.time()
        for function in (one for one in self._state.functions.values() if one.app is app):
            self._fail_queue(function, failed(Status.GENERIC_STATUS_TERMINATED, "the app was stopped"))
        for container in self._containers_of(app):
            for item in list(container.running.values()):
                cancel(item)
            container.interrupt()
        self._state.logs.event(Kind.STOPPED, app.name, "with all that it ran")
        self._state.logs.changed.notify()

    def stop(self, container: Container, why: str) -> None:
        """Let a container finish its inputs and end."""
        if not container.stopping:
            self._emit(Kind.STOPPING, container, why)
        container.stop()

    def preempt(self, container: Container) -> None:
        """Preempt a container: its inputs are retried from the start, elsewhere."""
        self._emit(Kind.PREEMPTED, container)
        container.interrupted = True
        container.stop()
        self._requeue(container)
        container.kill()

    async def run(self) -> None:
        """Enforce time-outs and stop idle containers, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            for container in list(self._state.containers.values()):
                self._check(container)

    async def close(self) -> None:
        """End every container and wait until they are gone."""
        self._closed = True
        for container in list(self._state.containers.values()):
            container.stop()
            container.kill()
        if self._lives:
            await asyncio.wait(self._lives, timeout=GRACE_S)
        for life in list(self._lives):
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    def _wanted(self, function: Function) -> int:
        running = sum(len(one.running) + one.connections for one in function.live_containers)
        load = math.ceil((running + len(function.queue)) / function.target_inputs)
        spare = function.buffer_containers if load else 0
        return min(max(load + spare, self._kept(function)), function.max_containers)

    def _kept(self, function: Function) -> int:
        """How many idle containers are kept: none of a function that was replaced or cannot start."""
        kept = function.current and function.failed_starts < FAILED_STARTS_ALLOWED
        return function.min_containers if kept else 0

    def _containers_of(self, app: App) -> list[Container]:
        return [one for one in self._state.containers.values() if one.function.app is app]

    def _start(self, function: Function) -> None:
        container_id = self._state.new_id("ta")
        container = Container(container_id, function, self._state.folder / "containers" / container_id)
        self._state.containers[container_id] = function.containers[container_id] = container
        self._emit(Kind.STARTING, container)
        life = asyncio.ensure_future(self._live(container))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, container: Container) -> None:
        function, logs = container.function, self._state.logs
        try:
            delay_s = self._troubles.start_delay_s(function)
            await container.changed.wait_until(lambda: container.stopping, delay_s)
            await self._starter.start(container)
            if container.interrupted or self._closed:
                container.kill()
            status = await container.wait(lambda text, stream: logs.add(container, text, stream))
        except (StartFailed, GRPCError, OSError) as error:
            container.result, status = failed(Status.GENERIC_STATUS_FAILURE, str(error)), 1
            logs.add(container, f"{error}\n", pb.FILE_DESCRIPTOR_STDERR)
        finally:
            container.kill()
            container.stopping = True
            self._state.containers.pop(container.id, None)
            function.containers.pop(container.id, None)
            function.changed.notify()  # it may have been the one that was to take the next input
            await container.close()
            await asyncio.to_thread(shutil.rmtree, container.folder, ignore_errors=True)
            logs.changed.notify()
        self._ended(container, status)

    def _ended(self, container: Container, status: int) -> None:
        """Settle the container's inputs, and scale its function again."""
        function = container.function
        if not self._closed:
            expected = status == 0 or container.stopped_at
            self._emit(Kind.ENDED if expected else Kind.CRASHED, container, _described(status))
        ended_itself = container.result is None and status == 0
        if (
            container.interrupted
            or container.asked_to_cancel
            or ended_itself
            or self._troubles.reruns_crashed(function)
        ):
            self._requeue(container)
        else:
            for item in list(container.running.values()):
                self._crashed(item, status)
        if container.ready:
            function.failed_starts = 0
        elif not container.interrupted and not (container.stopped_at and container.result is None):
            self._failed_start(container, status)
        self.scale(function)

    def _crashed(self, item: Input, status: int) -> None:
        item.crashes += 1
        message = f"the container that ran the input ended with status {status}"
        again = item.crashes < CRASHES_ALLOWED
        kind = Status.GENERIC_STATUS_INTERNAL_FAILURE if again else Status.GENERIC_STATUS_FAILURE
        if item.cancelled:
            kind, message = Status.GENERIC_STATUS_TERMINATED, "Input was cancelled"
        finish_with(item, failed(kind, message))

    def _failed_start(self, container: Container, status: int) -> None:
        function = container.function
        function.failed_starts += 1
        if container.result is not None:
            self._fail_queue(function, container.result)
        elif container.start_timed_out:
            text = f"the container was not ready within {function.startup_timeout_s:g} s"
            self._fail_queue(function, failed(Status.GENERIC_STATUS_TIMEOUT, text))
        elif function.failed_starts >= FAILED_STARTS_ALLOWED:
            text = f"crash loop: the container ended with status {status} before it was ready"
            self._fail_queue(function, failed(Status.GENERIC_STATUS_FAILURE, text))

    def _fail_queue(self, function: Function, result: pb.GenericResult) -> None:
        while function.queue:
            finish_with(function.queue.popleft(), result)

    def _requeue(self, container: Container) -> None:
        for item in reversed(list(container.running.values())):
            del container.running[item.id]
            if item.cancelled:
                finish_with(item, failed(Status.GENERIC_STATUS_TERMINATED, "Input was cancelled"))
            elif item.id not in item.call.outputs:
                self._state.logs.event(
                    Kind.RETRIED, item.call.function.app.name, f"{item.title} from its start"
                )
                self.enqueue(item, first=True)

    def _check(self, container: Container) -> None:
        now, function = time.monotonic(), container.function
        stopped_s = now - container.stopped_at
        if (container.interrupted and stopped_s > GRACE_S) or (
            container.stopping and not container.running and stopped_s > function.exit_grace_s
        ):
            container.kill()
        elif not container.ready and container.started_at:
            if now - container.started_at > function.startup_timeout_s:
                container.start_timed_out = True
                container.kill()
        elif container.running or container.connections:
            self._end_late_inputs(container, now)
        elif self._idle(container, now):
            self.stop(container, f"idle for {function.scaledown_window_s:g} s")

    def _end_late_inputs(self, container: Container, now: float) -> None:
        for item in list(container.running.values()):
            late_s = now - item.started_at - container.function.timeout_s
            if late_s > GRACE_S:
                container.interrupted = True
                container.kill()
            elif late_s > 0 and item.id not in item.call.outputs:
                text = f"the input ran longer than {container.function.timeout_s:g} s"
                finish_with(item, failed(Status.GENERIC_STATUS_TIMEOUT, text))
                container.running[item.id] = item  # until the container reports that it has ended it
                cancel(item)

    def _idle(self, container: Container, now: float) -> bool:
        function = container.function
        return (
            container.ready
            and not container.stopping
            and now - container.last_used_at > function.scaledown_window_s
            and len(function.live_containers) > self._wanted(function)
        )

    def _emit(self, kind: Kind, container: Container, how: str = "") -> None:
        text = f"{container.title}: {how}" if how else container.title
        self._state.logs.event(kind, container.function.app.name, text)


def next_taker(function: Function) -> Container | None:
    """The container that gets the next input: of those that ask for one, the oldest that works on fewer than
    `target_inputs`, else the oldest. Modal says that a container bursts above its target where others lack
    room, and not which one of several gets an input."""
    asking = [one for one in function.live_containers if one.asking] if function.queue else []
    return min(asking, key=lambda one: len(one.running) >= function.target_inputs, default=None)


def _described(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
