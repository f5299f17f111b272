"""Speech through a loudspeaker, piece after piece, while the turn goes on.

Played by PortAudio (the extra `talk` and the system's libportaudio2) or, where that is missing, by the
sound server's own command.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from client.audio.sound_devices import portaudio_library
from shared.audio.pcm import Pcm
from shared.errors import SpeechError

COMMANDS = {
    "paplay": ["--raw", "--format=s16le", "--channels=1", "--rate={rate}"],
    "aplay": ["--quiet", "--file-type=raw", "--format=S16_LE", "--channels=1", "--rate={rate}"],
}
"""Programs that play raw samples from standard input, of PulseAudio or PipeWire and of ALSA."""

HOW_TO_HEAR = "To hear replies: sudo apt install libportaudio2 (and pip install sounddevice)."


class NoLoudspeaker(SpeechError):
    """There is nothing to play speech with."""

    kind = "no_loudspeaker"


class Loudspeaker:
    """Plays what it is given, in order and behind the caller's back; a context manager.

    Leaving it by an exception falls silent at once; otherwise wait for `played` first.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loudspeaker")
        self._pieces: list[Future[None]] = []
        self._sink: _Sink | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._sink and kind is not None:
            self._sink.abort()
        self._thread.shutdown(wait=True)

    def play(self, pcm: Pcm) -> None:
        """Play a piece behind those before it; all of one sample rate."""
        self._pieces.append(self._thread.submit(self._play, pcm))

    async def played(self) -> None:
        """Wait until everything has been heard. Raises NoLoudspeaker if it could not be."""
        for piece in self._pieces:
            await asyncio.wrap_future(piece)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drain)

    def _play(self, pcm: Pcm) -> None:
        self._sink = self._sink or _open_sink(pcm.sample_rate_hz)
        with _device_errors():
            self._sink.write(pcm)

    def _drain(self) -> None:
        if self._sink:
            with _device_errors():
                self._sink.drain()


@contextmanager
def _device_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # PortAudio's own, a broken pipe to a player: all mean the same here
        raise NoLoudspeaker(f"The reply could not be played: {error}") from error


class _Sink(Protocol):
    """Where samples go; `write` blocks as long as they need to be heard, more or less."""

    def write(self, pcm: Pcm) -> None: ...

    def drain(self) -> None: ...

    def abort(self) -> None: ...


class _PortAudioSink:
    def __init__(self, sample_rate_hz: int) -> None:
        self._stream = portaudio_library().OutputStream(
            samplerate=sample_rate_hz, channels=1, dtype="float32"
        )
        self._stream.start()

    def write(self, pcm: Pcm) -> None:
        self._stream.write(pcm.samples[:, np.newaxis])

    def drain(self) -> None:
        # Stopped at once, the last 45 ms were not heard (PortAudio 19.6 on PulseAudio's ALSA device).
        self._stream.write(np.zeros((int(self._stream.samplerate * 0.1), 1), np.float32))
        self._stream.stop()
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()


class _CommandSink:
    def __init__(self, command: str, sample_rate_hz: int) -> None:
        self._command = command
        options = [option.format(rate=sample_rate_hz) for option in COMMANDS[command]]
        self._player = subprocess.Popen(
            [command, *options], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def write(self, pcm: Pcm) -> None:
        assert self._player.stdin
        self._player.stdin.write((pcm.samples * 32767).astype("<i2").tobytes())

    def drain(self) -> None:
        self._player.communicate()
        if self._player.returncode:
            raise OSError(f"{self._command} has no sound device.")

    def abort(self) -> None:
        self._player.kill()
        self._player.wait()
        with suppress(OSError):  # what it had not read
            if self._player.stdin:
                self._player.stdin.close()


def _open_sink(sample_rate_hz: int) -> _Sink:
    """The first sink that opens. Raises NoLoudspeaker."""
    try:
        return _PortAudioSink(sample_rate_hz)
    except Exception:  # no library, no PortAudio, no device (PortAudioError)
        for command in COMMANDS:
            if shutil.which(command):
                return _CommandSink(command, sample_rate_hz)
    raise NoLoudspeaker(f"There is no loudspeaker here. {HOW_TO_HEAR}")
