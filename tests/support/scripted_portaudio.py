"""Stands in for the library `sounddevice`: a microphone and a loudspeaker, whose audio a test moves itself.

What a real sound server does is tested in tests/devices; here it is what cannot be made to happen there:
audio that the device loses, underruns, host APIs of other systems.
"""

import threading
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from conversation.audio import Samples


class ScriptedStream:
    """A stream of the device; `callback` gets what the test records or plays."""

    def __init__(
        self, owner: "ScriptedPortAudio", *, samplerate: int, latency: float, **options: Any
    ) -> None:
        owner.opening()
        self.samplerate, self.latency = samplerate, latency
        self.active = False
        self.closed = False
        self.heard: list[Samples] = []
        """What a loudspeaker has taken by itself."""
        self._callback: Callable[..., None] = options["callback"]
        self._is_output = options["device"] == 1
        self._player = threading.Thread(target=self._play) if owner.plays_by_itself else None
        owner.streams.append(self)

    def start(self) -> None:
        self.active = True
        if self._is_output:
            self.played(round(3 * self.latency * self.samplerate))  # fills its buffer
        if self._player:
            self._player.start()

    def close(self, ignore_errors: bool = True) -> None:
        self.active, self.closed = False, True
        if self._player:
            self._player.join()

    def _play(self) -> None:
        while self.active:
            self.heard.append(self.played(round(0.01 * self.samplerate)))
            time.sleep(0.002)  # five times as fast as people listen

    def record(self, samples: Samples, *, overflow: bool = False) -> None:
        """The microphone delivers a block."""
        status = SimpleNamespace(input_overflow=overflow)
        self._callback(samples[:, np.newaxis], samples.size, None, status)

    def played(self, num_samples: int, *, underflow: bool = False, priming: bool = False) -> Samples:
        """The loudspeaker takes a block."""
        block = np.full((num_samples, 1), np.nan, np.float32)
        status = SimpleNamespace(output_underflow=underflow, priming_output=priming)
        self._callback(block, num_samples, None, status)
        return block[:, 0]


class ScriptedPortAudio(ModuleType):
    """The module, to be put into `sys.modules["sounddevice"]`."""

    class PortAudioError(Exception):
        """Nothing raises it."""

    def __init__(self, host_api: str = "ALSA", *, plays_by_itself: bool = False) -> None:
        super().__init__("sounddevice")
        self.plays_by_itself = plays_by_itself
        self.default = SimpleNamespace(hostapi=0)
        self.streams: list[ScriptedStream] = []
        self.may_open = threading.Event()
        self.may_open.set()
        self.is_opening = threading.Event()
        self._host_api = {"name": host_api, "default_input_device": 0, "default_output_device": 1}

    def opening(self) -> None:
        self.is_opening.set()
        self.may_open.wait()

    def query_devices(self, _name: str | None = None, kind: str | None = None) -> dict[str, Any]:
        channels = {"max_input_channels": int(kind == "input"), "max_output_channels": int(kind == "output")}
        index = 0 if kind == "input" else 1
        return {"index": index, "name": f"the {kind}", "hostapi": 0, "default_samplerate": 16e3, **channels}

    def query_hostapis(self, _index: int = 0) -> dict[str, Any]:
        return self._host_api

    def InputStream(self, **options: Any) -> ScriptedStream:  # noqa: N802  sounddevice's names
        return ScriptedStream(self, **options)

    OutputStream = InputStream
