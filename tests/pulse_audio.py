"""A sound server without hardware: PulseAudio, whose microphone and loudspeaker are two null sinks.

Debian packages: pulseaudio pulseaudio-utils libasound2-plugins libportaudio2. What is played into
`micfeed` is what the microphone hears; the monitor of `speaker` is what the loudspeaker says.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from tests.sounds import Samples

START_TIMEOUT_S = 30
MODULES = [
    "module-native-protocol-unix",
    "module-null-sink sink_name=speaker rate=48000",
    "module-null-sink sink_name=micfeed rate=48000",
    "module-remap-source master=micfeed.monitor source_name=mic",
]


class PulseAudio:
    """A server of its own, as a context manager; programs started with `environ` use it.

    It lives in a folder with a short name, as the path of its socket must not exceed 107 bytes.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="s2s-")
        home = Path(self._folder.name)  # mode 700, which PulseAudio insists on
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULSE_", "XDG_"))},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "XDG_CONFIG_HOME": str(home),
        }
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        modules = [option for module in MODULES for option in ("-L", module)]
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--log-level=error", *modules]
        self._server = subprocess.Popen(command, env=self.environ, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while self._control("info", check=False):
            assert self._server.poll() is None, "PulseAudio ended by itself"
            assert time.monotonic() < give_up_at, "PulseAudio does not answer"
            time.sleep(0.05)
        self._control("set-default-sink", "speaker")
        self._control("set-default-source", "mic")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """End the server, as if all devices were unplugged."""
        if self._server:
            self._server.terminate()
            self._server.wait(timeout=10)
            self._server = None

    def say_to_microphone(self, wav: Path) -> None:
        """Play a file into the microphone; returns when it has been played."""
        subprocess.run(["paplay", "--device=micfeed", str(wav)], env=self.environ, check=True, timeout=60)

    @contextmanager
    def recorded_speaker(self, sample_rate_hz: int) -> Iterator[list[Samples]]:
        """What the loudspeaker says meanwhile: one array, there afterwards, as mono float32."""
        recorded: list[Samples] = []
        command = [
            "parec",
            "--device=speaker.monitor",
            "--format=float32le",
            "--channels=1",
            "--latency-msec=20",
        ]
        command.append(f"--rate={sample_rate_hz}")
        with tempfile.TemporaryFile() as file:
            recorder = subprocess.Popen(command, env=self.environ, stdout=file)
            try:
                self._wait_for_recorder()
                yield recorded
            finally:
                recorder.terminate()
                recorder.wait(timeout=10)
            file.seek(0)
            recorded.append(np.frombuffer(file.read(), "<f4").astype(np.float32))

    def _wait_for_recorder(self) -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._list("source-outputs"):
            assert time.monotonic() < give_up_at, "parec does not record"
            time.sleep(0.02)

    def _list(self, what: str) -> str:
        command = ["pactl", "list", "short", what]
        return subprocess.run(command, env=self.environ, check=True, capture_output=True, text=True).stdout

    def _control(self, *command: str, check: bool = True) -> int:
        return subprocess.run(
            ["pactl", *command], env=self.environ, check=check, capture_output=True, timeout=START_TIMEOUT_S
        ).returncode
