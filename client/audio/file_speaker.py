"""A file that gets what a loudspeaker would have said."""

import asyncio
import wave
from contextlib import suppress
from pathlib import Path
from typing import Self

from client.audio.audio_file import check_writable, write_errors
from client.audio.speaker import SAMPLE_RATE_HZ, Played, Speaker
from shared.audio.pcm import as_int16


class FileSpeaker(Speaker):
    """Writes a 16-bit WAV of all that is heard from its opening on, silence included.

    It goes by the event loop's clock, exact to a sample: what is played, paused or cleared at a time
    acts at that time's sample.

    Opening raises OutputNotWritten.
    """

    BLOCK_S = 0.02

    def __init__(
        self, path: Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ, played: Played | None = None
    ) -> None:
        super().__init__(sample_rate_hz, played)
        self._path = path

    @property
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply began to sound; None until then and once cleared."""
        begun_at = self._buffer.begun_at
        return None if begun_at is None else self._opened_at_s + begun_at / self.sample_rate_hz

    async def __aenter__(self) -> Self:
        check_writable(self._path)
        with write_errors(self._path):
            self._file = wave.open(str(self._path), "wb")  # noqa: SIM115  closed by __aexit__
            self._file.setparams((1, 2, self.sample_rate_hz, 0, "NONE", "not compressed"))
        self._begin(self.sample_rate_hz)
        self._loop = asyncio.get_running_loop()
        self._opened_at_s = self._loop.time()
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writing.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await self._writing
            self._up_to_now()
        finally:
            with write_errors(self._path):
                self._file.close()

    async def _write(self) -> None:
        while True:
            self._up_to_now()
            next_s = self._opened_at_s + self._buffer.position / self.sample_rate_hz + self.BLOCK_S
            await asyncio.sleep(next_s - self._loop.time())

    def _up_to_now(self) -> None:
        due = round((self._loop.time() - self._opened_at_s) * self.sample_rate_hz)
        with write_errors(self._path):
            while missing := due - self._buffer.position:
                block = self._next(min(missing, self.sample_rate_hz))
                self._file.writeframesraw(as_int16(block).astype("<i2").tobytes())
