"""Faults to inject, each for the length of a block."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from grpclib import GRPCError

from local_cloud.state import Function

T = TypeVar("T")


@dataclass(frozen=True)
class Scope:
    """Functions by their app's name and their own, as in views; None stands for any."""

    app: str | None = None
    function: str | None = None

    def covers(self, function: Function) -> bool:
        """Whether the function is meant."""
        return self.app in (None, function.app.name) and self.function in (None, function.name)


@dataclass(eq=False)
class Troubles:
    """The current faults: none at first."""

    refusals: list[tuple[str, GRPCError]] = field(default_factory=list)  # of requests, by name
    delays: list[tuple[str | None, float]] = field(default_factory=list)  # of requests, by name; of every one
    no_capacity: list[Scope] = field(default_factory=list)
    slow_starts: list[tuple[Scope, float]] = field(default_factory=list)
    reruns: list[Scope] = field(default_factory=list)

    async def meet(self, request: str) -> None:
        """Delay or refuse a request, as the current faults say."""
        delay_s = sum(delay_s for name, delay_s in self.delays if name in (None, request))
        if delay_s:
            await asyncio.sleep(delay_s)
        for name, error in self.refusals:
            if name == request:
                raise error

    def without_capacity(self, function: Function) -> bool:
        """Whether no container can be started."""
        return any(scope.covers(function) for scope in self.no_capacity)

    def start_delay_s(self, function: Function) -> float:
        """How long a container waits before its process starts."""
        return sum(delay_s for scope, delay_s in self.slow_starts if scope.covers(function))

    def reruns_crashed(self, function: Function) -> bool:
        """Whether an input whose container died is retried instead of failing."""
        return any(scope.covers(function) for scope in self.reruns)


@contextmanager
def lasting(troubles: list[T], trouble: T) -> Iterator[None]:
    """Keep a fault in its list for the length of a block."""
    troubles.append(trouble)
    try:
        yield
    finally:
        troubles.remove(trouble)
