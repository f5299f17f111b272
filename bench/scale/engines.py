"""How many calls an engine in a container works on at once."""

from collections import deque

import simpy


class Lanes:
    """So many calls, each by itself: a language model's server, or one thread for speech."""

    def __init__(self, env: simpy.Environment, lanes: int) -> None:
        self._env = env
        self._free = lanes
        self._waiting: deque[simpy.Event] = deque()

    def take(self) -> bool:
        """Whether a lane was free, and is taken now."""
        if self._free:
            self._free -= 1
            return True
        return False

    def wait(self) -> simpy.Event:
        """An event that comes when a lane has been taken for the caller."""
        event = self._env.event()
        self._waiting.append(event)
        return event

    def end(self) -> None:
        """Leave a lane."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._free += 1


class Batches:
    """One batch at a time, of at most so many calls that wait, as `services.host.batch_queue` makes them. A
    batch takes as long as its longest call."""

    def __init__(self, env: simpy.Environment, largest: int) -> None:
        self._env = env
        self._largest = largest
        self._waiting: deque[tuple[float, simpy.Event]] = deque()
        self._working = False

    def work(self, service_s: float) -> simpy.Event:
        """An event that comes when the call is done."""
        event = self._env.event()
        self._waiting.append((service_s, event))
        if not self._working:
            self._next()
        return event

    def _next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._largest, len(self._waiting)))]
        self._working = bool(batch)
        if batch:
            done = self._env.timeout(max(service_s for service_s, _ in batch))
            assert done.callbacks is not None
            done.callbacks.append(lambda _: self._finish(batch))

    def _finish(self, batch: list[tuple[float, simpy.Event]]) -> None:
        for _, event in batch:
            event.succeed()
        self._next()
