"""The one thread on which an engine works, and the streams that come out of it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerThread(Executor):
    """Runs blocking work for an event loop, one job after another, on one thread.

    `on_stuck` is called if a job runs on for `stuck_after_s` after it was abandoned: nothing else can run on
    this thread then, and a thread cannot be ended.
    """

    def __init__(
        self, name: str, *, on_stuck: Callable[[], None] = lambda: None, stuck_after_s: float = 60.0
    ) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        # A daemon, unlike the threads of an executor: a process does not wait for it in order to end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = False
        self._on_stuck = on_stuck
        self._stuck_after_s = stuck_after_s

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` to its end on the thread."""
        return await self._submit(work)

    async def stream(
        self, produce: Callable[[threading.Event], Generator[T, None, None]]
    ) -> AsyncGenerator[T, None]:
        """Yield what a generator yields on the thread, as it comes.

        Closing the stream sets the event that the generator was given, and closes the generator at
        its next item. It does not wait for that: the thread itself is what keeps other work off the
        engine until then. The generator runs ahead of its reader, so it must be bounded by itself.
        """
        loop = asyncio.get_running_loop()
        cancelled, running = threading.Event(), threading.Event()
        items: asyncio.Queue[T | None] = asyncio.Queue()

        def pump() -> None:
            running.set()
            try:
                if cancelled.is_set():
                    return
                with closing(produce(cancelled)) as produced:
                    for item in produced:
                        if cancelled.is_set():
                            return
                        loop.call_soon_threadsafe(items.put_nowait, item)
            finally:
                running.clear()

        pumping = self._submit(pump)
        pumping.add_done_callback(lambda _: items.put_nowait(None))
        try:
            while (item := await items.get()) is not None:
                yield item
            pumping.result()
        finally:
            cancelled.set()
            if not pumping.cancel() and not pumping.cancelled():
                pumping.exception()  # retrieved, so that asyncio does not report it
            self.watch_abandoned(running)

    def watch_abandoned(self, running: threading.Event) -> None:
        """A job was abandoned: if its `running` is still set later, the thread is stuck."""
        if running.is_set():
            asyncio.get_running_loop().call_later(self._stuck_after_s, self._check, running)

    def close(self, *, wait_s: float | None = None) -> None:
        """Fail the jobs that have not begun and let the running one finish, for at most `wait_s` if given."""
        self._closed = True
        with suppress(Empty):
            while job := self._jobs.get_nowait():
                if job[0].set_running_or_notify_cancel():
                    job[0].set_exception(RuntimeError(f"{self._thread.name} is closed"))
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def submit(self, work: Callable[..., T], /, *args: Any, **keywords: Any) -> Future[T]:
        """Queue work. Raises RuntimeError once the thread is closed."""
        if self._closed:
            raise RuntimeError(f"{self._thread.name} is closed")
        if self._thread.ident is None:
            self._thread.start()
        future: Future[T] = Future()
        self._jobs.put((future, partial(work, *args, **keywords)))
        return future

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self, work)

    def _run(self) -> None:
        while job := self._jobs.get():
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, work  # what a job holds is free once it is done

    def _check(self, running: threading.Event) -> None:
        if running.is_set():
            self._on_stuck()
