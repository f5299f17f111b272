"""A recording of what a device of the sound server says, to be looked at while it goes on."""

import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Self

import numpy as np

from bench.sounds import Samples

START_TIMEOUT_S = 30
SOUND = 0.01
"""Louder than what the devices add."""


class Recording:
    """Records a PulseAudio source as a context manager, by its clients' command `parec`.

    `began_at_s` is when its first sample was said, by time.monotonic(), as well as the blocks' arrivals tell:
    none can arrive before it is said.
    """

    def __init__(self, source: str, rate_hz: int, environ: Mapping[str, str]) -> None:
        self._command = ["parec", f"--device={source}", "--format=float32le", "--channels=1"]
        self._command += ["--latency-msec=20", f"--rate={rate_hz}"]
        self._environ = environ
        self._data = bytearray()
        self._began_reading = threading.Event()
        self.rate_hz = rate_hz
        self.began_at_s = float("inf")

    def __enter__(self) -> Self:
        self._recorder = subprocess.Popen(self._command, env=self._environ, stdout=subprocess.PIPE, bufsize=0)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        # up to 2 s: a null sink that is idle is slow
        assert self._began_reading.wait(START_TIMEOUT_S), "parec does not record"
        return self

    def __exit__(self, *error: object) -> None:
        self._recorder.terminate()
        self._recorder.wait(timeout=10)
        self._reader.join()
        assert self._recorder.stdout
        self._recorder.stdout.close()

    @property
    def samples(self) -> Samples:
        """All so far."""
        data = bytes(self._data)
        return np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float32)

    def since(self, at_s: float) -> Samples:
        """What was said from that moment on, by time.monotonic()."""
        return self.samples[max(0, round((at_s - self.began_at_s) * self.rate_hz)) :]

    def first_sound_at_s(self, after_s: float) -> float | None:
        """The first moment from `after_s` on with a sound, by time.monotonic(); None if there is none yet."""
        return self._moment(np.flatnonzero(np.abs(self.since(after_s)) > SOUND)[:1], after_s)

    def last_sound_at_s(self, after_s: float, before_s: float) -> float | None:
        """The last moment between them with a sound; None if there is none."""
        span = self.since(after_s)[: round((before_s - max(after_s, self.began_at_s)) * self.rate_hz)]
        return self._moment(np.flatnonzero(np.abs(span) > SOUND)[-1:], after_s)

    def _moment(self, found: "np.ndarray[tuple[int], np.dtype[np.intp]]", after_s: float) -> float | None:
        return max(after_s, self.began_at_s) + int(found[0]) / self.rate_hz if found.size else None

    def _read(self) -> None:
        assert self._recorder.stdout
        while block := self._recorder.stdout.read(65_536):
            self._data += block
            said_s = len(self._data) / 4 / self.rate_hz
            self.began_at_s = min(self.began_at_s, time.monotonic() - said_s)
            self._began_reading.set()
