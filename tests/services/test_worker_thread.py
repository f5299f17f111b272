"""The thread on which an engine works: one piece of work at a time, and nothing left behind."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator

import pytest

from services.host.worker_thread import WorkerThread
from tests.support.paths import ROOT
from tests.support.waiting import GIVE_UP_S


@pytest.fixture
def worker() -> Iterator[WorkerThread]:
    thread = WorkerThread("test")
    yield thread
    thread.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("test")]


async def test_a_stream_yields_what_its_generator_yields_in_order(worker: WorkerThread) -> None:
    assert [n async for n in worker.stream(lambda _: (n for n in range(50)))] == list(range(50))


async def test_an_error_comes_behind_the_items_before_it(worker: WorkerThread) -> None:
    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        raise OSError("broken")

    seen = []
    with pytest.raises(OSError, match="broken"):
        async for item in worker.stream(work):
            seen.append(item)
    assert seen == [1]


async def test_an_item_is_there_before_the_next_one_is_made(worker: WorkerThread) -> None:
    go_on = threading.Event()

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        go_on.wait(GIVE_UP_S)
        yield 2

    stream = worker.stream(work)
    assert await anext(stream) == 1
    go_on.set()
    assert await anext(stream) == 2
    await stream.aclose()


async def test_a_closed_stream_stops_its_generator_at_its_next_item(worker: WorkerThread) -> None:
    ended = threading.Event()
    made = []

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        try:
            for n in range(1_000_000):
                made.append(n)
                yield n
                cancelled.wait(GIVE_UP_S)
        finally:
            ended.set()

    stream = worker.stream(work)
    assert await anext(stream) == 0
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, GIVE_UP_S)
    assert made == [0, 1]


async def test_closing_a_stream_does_not_wait_for_the_work_under_way(worker: WorkerThread) -> None:
    go_on = threading.Event()

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        go_on.wait(2 * GIVE_UP_S)

    stream = worker.stream(work)
    await anext(stream)
    async with asyncio.timeout(GIVE_UP_S):  # twice that if it waited
        await stream.aclose()
    go_on.set()


async def test_work_that_goes_on_long_after_its_stream_was_closed_is_reported_as_stuck() -> None:
    stuck, go_on = asyncio.Event(), threading.Event()
    worker = WorkerThread("hung", on_stuck=stuck.set, stuck_after_s=0.01)

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        go_on.wait(2 * GIVE_UP_S)

    stream = worker.stream(work)
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(GIVE_UP_S):
        await stuck.wait()
    go_on.set()
    worker.close()


async def test_work_that_heeds_its_cancellation_is_not_reported_as_stuck() -> None:
    stuck = asyncio.Event()
    worker = WorkerThread("heeding", on_stuck=stuck.set, stuck_after_s=0.2)

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        cancelled.wait(GIVE_UP_S)

    stream = worker.stream(work)
    await anext(stream)
    await stream.aclose()
    free = threading.Event()
    later = asyncio.create_task(worker.run(free.set))
    await asyncio.sleep(0)
    assert free.wait(GIVE_UP_S)  # the event loop is blocked, so that nothing is checked before
    await later
    await asyncio.sleep(0.3)
    worker.close()
    assert not stuck.is_set()


async def test_work_that_was_cancelled_before_its_turn_is_never_begun(worker: WorkerThread) -> None:
    go_on = threading.Event()
    begun = []

    def first(cancelled: threading.Event) -> Generator[int, None, None]:
        yield 1
        go_on.wait(2 * GIVE_UP_S)

    def second(cancelled: threading.Event) -> Generator[int, None, None]:
        begun.append(2)
        yield 2

    running = worker.stream(first)
    await anext(running)
    waiting = asyncio.create_task(anext(worker.stream(second)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    await running.aclose()
    await worker.run(lambda: None)
    assert begun == []


async def test_two_streams_never_work_at_the_same_time(worker: WorkerThread) -> None:
    at_work = threading.Lock()

    def work(cancelled: threading.Event) -> Generator[int, None, None]:
        assert at_work.acquire(blocking=False)
        yield from range(3)
        at_work.release()

    async def read() -> list[int]:
        return [n async for n in worker.stream(work)]

    assert await asyncio.gather(*(read() for _ in range(20))) == [[0, 1, 2]] * 20


async def test_what_has_not_begun_fails_when_it_closes() -> None:
    worker, begun, go_on, second = WorkerThread("test"), threading.Event(), threading.Event(), []

    def first() -> str:
        begun.set()
        go_on.wait(GIVE_UP_S)
        return "finished"

    running = asyncio.create_task(worker.run(first))
    waiting = asyncio.create_task(worker.run(lambda: second.append(2)))
    await asyncio.to_thread(begun.wait, GIVE_UP_S)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    with pytest.raises(RuntimeError, match="closed"):
        await waiting
    go_on.set()
    await closing
    assert await running == "finished"
    assert second == []
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(first)


def test_a_program_does_not_wait_for_work_that_it_has_abandoned() -> None:
    code = """
import asyncio, time
from services.host.worker_thread import WorkerThread

async def main():
    worker = WorkerThread("test")
    asyncio.create_task(worker.run(lambda: time.sleep(600)))
    await asyncio.sleep(0.1)
    worker.close(wait_s=0.1)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=GIVE_UP_S)
