"""Queues of the local cloud, as Modal's own client meets them."""

import asyncio
import queue
from collections.abc import Iterator

import modal
import pytest

from tests.support.control_plane_programs import Cloud


@pytest.fixture
def letters(cloud: Cloud) -> Iterator[modal.Queue]:
    with modal.Queue.ephemeral() as letters:
        yield letters


def test_values_come_out_in_their_order_and_once(letters: modal.Queue) -> None:
    letters.put_many(["a", {"b": 1}, None])
    assert letters.len() == 3
    assert [letters.get(), letters.get(), letters.get()] == ["a", {"b": 1}, None]
    assert letters.get(block=False) is None


def test_partitions_do_not_mix(letters: modal.Queue) -> None:
    letters.put("first's", partition="first")
    letters.put("second's", partition="second")
    assert letters.len(total=True) == 2
    assert letters.get_many(5, partition="second") == ["second's"]
    letters.clear(partition="first")
    with pytest.raises(queue.Empty):
        letters.get(partition="first", timeout=0.1)


def test_who_waits_gets_what_is_put_later(letters: modal.Queue) -> None:
    async def waits() -> object:
        waiting = asyncio.create_task(letters.get.aio(timeout=60))
        await letters.put.aio("other", partition="other")
        assert not waiting.done()
        await letters.put.aio("late")
        return await waiting

    assert asyncio.run(waits()) == "late"


def test_a_named_queue_is_the_same_for_all_who_know_its_name(cloud: Cloud) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="nobodys-queue"):
        modal.Queue.from_name("nobodys-queue").put("lost")
    modal.Queue.from_name("letters", create_if_missing=True).put("kept")
    assert modal.Queue.from_name("letters").get() == "kept"
