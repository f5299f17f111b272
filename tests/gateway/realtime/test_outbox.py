"""What waits to be sent: bounded, in order, and cut where the listener interrupts."""

import asyncio

import pytest
from pydantic import BaseModel

from gateway.realtime.outbox import Outbox, SlowReader


class Text(BaseModel):
    text: str


class Reader:
    """Reads what it is sent, while it may."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.read: list[str] = []

    async def send(self, text: str) -> None:
        await self.may_read.wait()
        self.read.append(Text.model_validate_json(text).text)


def outbox_of(reader: Reader, max_characters: int = 1_000, timeout_s: float = 30.0) -> Outbox:
    return Outbox(reader.send, max_characters=max_characters, timeout_s=timeout_s)


async def test_messages_are_sent_in_order_and_all_before_it_ends() -> None:
    reader = Reader()
    outbox = outbox_of(reader)
    for number in range(5):
        outbox.put(Text(text=str(number)))
    outbox.close()
    await outbox.run()
    assert reader.read == ["0", "1", "2", "3", "4"]


async def test_the_audio_of_an_interrupted_response_is_not_sent_and_all_else_is() -> None:
    reader = Reader()
    outbox = outbox_of(reader)
    outbox.put(Text(text="audio"), audio_of="resp_1")
    outbox.put(Text(text="words"))
    outbox.put(Text(text="audio of another"), audio_of="resp_2")
    outbox.drop_audio("resp_1")
    outbox.close()
    await outbox.run()
    assert reader.read == ["words", "audio of another"]


async def test_there_is_room_once_the_reader_has_read() -> None:
    reader = Reader()
    reader.may_read.clear()
    outbox = outbox_of(reader, max_characters=50)
    sending = asyncio.create_task(outbox.run())
    outbox.put(Text(text="x" * 100))
    room = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not room.done()
    reader.may_read.set()
    await room
    outbox.close()
    await sending


async def test_there_is_room_once_audio_is_dropped() -> None:
    outbox = outbox_of(Reader(), max_characters=50)
    outbox.put(Text(text="x" * 100), audio_of="resp_1")
    outbox.drop_audio("resp_1")
    await outbox.room()


async def test_a_reader_that_takes_nothing_ends_it() -> None:
    reader = Reader()
    reader.may_read.clear()
    outbox = outbox_of(reader, timeout_s=0.01)
    outbox.put(Text(text="anything"))
    with pytest.raises(SlowReader):
        await outbox.run()
