"""The person at a client: speaks recordings into its microphone, and reports what the client tells.

`python -m tests.gateway.clients.with_… URL [--interrupt] RECORDING…`, in the environment of the client. Each
recording (WAV, 24 kHz, mono, 16 bits) is spoken when the reply to the one before has ended, or in its midst
with --interrupt. What the client reports goes to standard output, a JSON object a line.
"""

import argparse
import asyncio
import base64
import json
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable

SAMPLE_RATE_HZ = 24_000
FRAME_S = 0.02
FRAME_BYTES = round(SAMPLE_RATE_HZ * FRAME_S) * 2
INTERRUPTS_AFTER_S = 0.5

INSTRUCTIONS = "You are a helpful assistant. Answer briefly."
WEATHER = "Sunny, with twenty one degrees."
WEATHER_TOOL = "get_weather"
WEATHER_DESCRIPTION = "The weather in a city."


class Person:
    """Talks through one client. The client's program calls the methods, and runs `talk`."""

    def __init__(self, arguments: list[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("url", help="the gateway's address: http://127.0.0.1:8000")
        parser.add_argument("--interrupt", action="store_true")
        parser.add_argument("recordings", nargs="+")
        given = parser.parse_args(arguments)
        self.url: str = given.url
        self._interrupts: bool = given.interrupt
        self._recordings = [_samples(path) for path in given.recordings]
        self._speech = b""
        self._reply = bytearray()
        self._text = ""
        self._audible = asyncio.Event()
        self._answered = asyncio.Event()

    @property
    def realtime_url(self) -> str:
        """The address of Realtime: ws://127.0.0.1:8000/v1/realtime."""
        return f"{self.url.replace('http', 'ws', 1)}/v1/realtime"

    async def microphone(self) -> AsyncIterator[bytes]:
        """What the microphone hears, in real time, without an end: a frame each 20 ms."""
        now_s = asyncio.get_running_loop().time
        due_s = now_s()
        while True:
            frame, self._speech = self._speech[:FRAME_BYTES], self._speech[FRAME_BYTES:]
            yield frame.ljust(FRAME_BYTES, b"\0")
            due_s += FRAME_S
            await asyncio.sleep(due_s - now_s())

    async def talk(self, send: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        """Speak all recordings, and wait for the reply to each. `send` is given the microphone's frames, if
        the client does not take them by itself."""
        sending = asyncio.create_task(self._send(send)) if send else None
        for number, recording in enumerate(self._recordings):
            self._audible.clear()
            self._answered.clear()
            self._speech = recording
            if self._interrupts and number + 1 < len(self._recordings):
                await self._until(self._audible)
                await asyncio.sleep(INTERRUPTS_AFTER_S)
            else:
                await self._until(self._answered, sending)
        if sending:
            sending.cancel()

    async def _until(self, event: asyncio.Event, sending: "asyncio.Task[None] | None" = None) -> None:
        waiting = {asyncio.create_task(event.wait())} | ({sending} if sending else set())
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _send(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        async for frame in self.microphone():
            await send(frame)

    def transcribed(self, text: str) -> None:
        """The client shows what the person said."""
        self._report(user=text)

    def called(self, arguments: object) -> str:
        """The client calls the tool; returns its result."""
        self._report(tool=WEATHER_TOOL, arguments=arguments)
        return WEATHER

    def hears(self, pcm: bytes) -> None:
        """The client plays these samples."""
        self._reply += pcm
        self._audible.set()

    def reads(self, text: str) -> None:
        """The client shows these words of the reply."""
        self._text += text

    def interrupted(self) -> None:
        """The client stops to play the reply."""
        self._end_of_reply(interrupted=True)

    def answered(self) -> None:
        """The reply is complete. One that has only called a tool is none."""
        if self._reply:
            self._end_of_reply(interrupted=False)
            self._answered.set()

    def _end_of_reply(self, *, interrupted: bool) -> None:
        audio = base64.b64encode(self._reply).decode()
        self._report(reply=self._text, audio=audio, interrupted=interrupted)
        self._reply.clear()
        self._text = ""

    def failed(self, error: object) -> None:
        """The client reports an error."""
        self._report(error=str(error))

    def _report(self, **fields: object) -> None:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def _samples(path: str) -> bytes:
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE_HZ, 1, 2)
        samples: bytes = file.readframes(file.getnframes())
        return samples
