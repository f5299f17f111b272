"""The containers of one app under Modal's autoscaling rules, in simulated time.

Documented by Modal (modal.com/docs/guide/scale, cold-start, concurrent-inputs, read in November 2026), and so
here and in the local cloud:

- A container is started where the inputs, running and pending, are more than the containers that run or
  start have room for, `target_inputs` each; never more than `max_containers`.
- A container may burst to `max_inputs` while there is no other room.
- `min_containers` always run. While there is an input, `buffer_containers` more run than inputs need.
- A container above what is wanted stops once it has been idle for `scaledown_window`.
- A function has at most 2,000 pending inputs; the next one is refused. (The local cloud refuses none.)

Not documented, so chosen, alike in the local cloud: a call goes to the oldest container below its target,
else to the oldest that may burst; nobody waits for a container that starts while another has room; decisions
take no time. Modal also says that containers stop before the window's end where there are far too many, not
when: here they do not.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import simpy

from client.cost.containers import Scaling

MAX_PENDING = 2_000
"""Inputs of a function that no container has taken (modal.com/docs/guide/scale, "Scaling Limits")."""


@dataclass(eq=False)
class Container:
    """One container; `engines` is what works in it."""

    number: int
    engines: Mapping[Any, Any]
    ready: bool = False
    stopped: bool = False
    running: int = 0
    """Inputs that it has taken and not ended."""
    served: int = 0
    idle_since_s: float = 0.0

    def __lt__(self, other: "Container") -> bool:
        return self.number < other.number


@dataclass(frozen=True)
class Usage:
    """Of a pool, over a time."""

    alive: float
    """Containers on average, those that start included."""
    most: int
    starts: int


class Pool:
    """See the module. `max_inputs` is how many inputs a container may take at once; `start_s` how long its
    cold start takes; `engines` makes what works in it. At the beginning the minimum is ready, or `warm`
    containers if they are more."""

    def __init__(
        self,
        env: simpy.Environment,
        scaling: Scaling,
        *,
        max_inputs: int,
        start_s: float,
        engines: Callable[[], Mapping[Any, Any]] = dict,
        warm: int = 0,
    ) -> None:
        self.target_inputs = scaling.calls_at_once
        self.waking: simpy.Event | None = None
        self._env = env
        self._scaling = scaling
        self._max_inputs = max_inputs
        self._start_s = start_s
        self._engines = engines
        self._numbers = 0
        self._live = 0
        self._running = 0
        self._pending: deque[simpy.Event] = deque()
        self._below_target: list[Container] = []  # heaps, with entries that no longer hold
        self._may_burst: list[Container] = []
        self._overdue: list[Container] = []  # idle for longer than the window, and wanted then
        self.measure()
        for _ in range(min(max(warm, scaling.min_containers), scaling.max_containers)):
            self._start(0.0)

    @property
    def live(self) -> int:
        """Containers that run or start."""
        return self._live

    def take(self) -> Container | None:
        """The container that has room for a call now, which it begins; None if the call must `wait`."""
        container = None if self._pending else self._with_room()
        if container is not None:
            self._give(container)
            self._scale()
        return container

    def wait(self) -> simpy.Event:
        """An event with the container that begins the call, or with None if it was refused."""
        event = self._env.event()
        if len(self._pending) >= MAX_PENDING:
            event.succeed(None)
            return event
        self._pending.append(event)
        self._scale()
        return event

    def end(self, container: Container) -> None:
        """A call has ended."""
        self._running -= 1
        container.running -= 1
        container.served += 1
        if not container.running:
            container.idle_since_s = self._env.now
        if container.running == self.target_inputs - 1:
            heappush(self._below_target, container)
        elif container.running == self._max_inputs - 1:
            heappush(self._may_burst, container)
        self._hand_out()
        self._scale()
        self._stop_overdue()

    def measure(self) -> None:
        """Begin to measure now."""
        self._measured_from_s = self._changed_s = self._env.now
        self._alive_s, self._most, self._starts = 0.0, self._live, 0

    def usage(self) -> Usage:
        """Since `measure`."""
        self._count(0)
        measured_s = self._env.now - self._measured_from_s
        return Usage(self._alive_s / measured_s, self._most, self._starts)

    def _wanted(self) -> int:
        scaling = self._scaling
        load = math.ceil((self._running + len(self._pending)) / self.target_inputs)
        spare = scaling.buffer_containers if load else 0
        return min(max(load + spare, scaling.min_containers), scaling.max_containers)

    def _scale(self) -> None:
        for _ in range(self._wanted() - self._live):
            self._starts += 1
            self._start(self._start_s)

    def _start(self, start_s: float) -> None:
        self._numbers += 1
        container = Container(self._numbers, self._engines())
        self._count(1)
        self._after(start_s, lambda: self._begin(container))

    def _begin(self, container: Container) -> None:
        container.ready, container.idle_since_s = True, self._env.now
        heappush(self._below_target, container)
        self._after(self._scaling.window_s, lambda: self._check(container))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._pending and (container := self._with_room()) is not None:
            self._give(container)
            self._pending.popleft().succeed(container)

    def _with_room(self) -> Container | None:
        target = self.target_inputs
        for heap, lowest, highest in (
            (self._below_target, 0, target),
            (self._may_burst, target, self._max_inputs),
        ):
            while heap:
                if not heap[0].stopped and lowest <= heap[0].running < highest:
                    return heap[0]
                heappop(heap)
        return None

    def _give(self, container: Container) -> None:
        self._running += 1
        container.running += 1
        if container.running == self.target_inputs < self._max_inputs:
            heappush(self._may_burst, container)

    def _check(self, container: Container) -> None:
        """Stop a container that is idle, or come back when it may be."""
        window_s, now_s = self._scaling.window_s, self._env.now
        if container.running:
            self._after(window_s, lambda: self._check(container))
        elif (early_s := container.idle_since_s + window_s - now_s) > 1e-9:
            self._after(early_s, lambda: self._check(container))
        else:
            self._overdue.append(container)
            self._stop_overdue()

    def _stop_overdue(self) -> None:
        """Stop those that are no longer wanted."""
        while self._overdue and self._live > self._wanted():
            container = self._overdue.pop()
            if container.running or container.idle_since_s + self._scaling.window_s > self._env.now + 1e-9:
                self._check(container)
                continue
            container.stopped = True
            self._count(-1)

    def _count(self, more: int) -> None:
        self._alive_s += self._live * (self._env.now - self._changed_s)
        self._changed_s = self._env.now
        self._live += more
        self._most = max(self._most, self._live)

    def _after(self, delay_s: float, do: Callable[[], None]) -> None:
        timeout = self._env.timeout(delay_s)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: do())
