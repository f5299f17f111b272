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

from bench.sounds import Samples
from tests.support.sound_recording import START_TIMEOUT_S, Recording

RATE_HZ = 16_000
"""Of both devices, so that what goes in at this rate comes out bit by bit."""
MODULES = [
    "module-native-protocol-unix",
    f"module-null-sink sink_name=speaker rate={RATE_HZ} channels=1",
    f"module-null-sink sink_name=micfeed rate={RATE_HZ} channels=1",
    "module-remap-source master=micfeed.monitor source_name=mic",
]


# Devices of ALSA, which is what PortAudio knows, by names of their own.
ASOUNDRC = """
pcm.table_microphone { type pulse device mic }
pcm.table_lamp { type pulse device mic }
pcm.table_loudspeaker { type pulse device speaker }
"""


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
        (home / ".asoundrc").write_text(ASOUNDRC)
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
    def recorded_speaker(self) -> Iterator[list[Samples]]:
        """What the loudspeaker says meanwhile, at RATE_HZ: one array, there afterwards."""
        recorded: list[Samples] = []
        with self.recording("speaker") as recording:
            yield recorded
        recorded.append(recording.samples)

    def recording(self, sink: str) -> Recording:
        """Records, at RATE_HZ, what is played to `speaker` or to `micfeed`."""
        return Recording(f"{sink}.monitor", RATE_HZ, self.environ)

    def loop_speaker_into_microphone(self) -> None:
        """From now on the microphone hears the loudspeaker, at -6 dB and 100 ms later."""
        loop = "module-loopback source=speaker.monitor sink=micfeed latency_msec=100"
        self._control("load-module", *loop.split())
        [echo] = [row for row in self._listed("sink-inputs") if "module-loopback.c" in row]
        self._control("set-sink-input-volume", echo[0], "-6dB")

    def unplug(self) -> None:
        """Take away all devices. Of one alone, PulseAudio would move its streams to another."""
        for row in self._listed("modules"):
            if "module-null-sink" in row:
                self._control("unload-module", row[0])

    def streams_of(self, process_id: int) -> int:
        """How many microphones and loudspeakers that process has open."""
        told = self._run("list", "sink-inputs") + self._run("list", "source-outputs")
        return told.count(f'application.process.id = "{process_id}"')

    def _listed(self, what: str) -> list[list[str]]:
        return [line.split("\t") for line in self._run("list", "short", what).splitlines()]

    def _run(self, *command: str) -> str:
        return subprocess.run(
            ["pactl", *command],
            env=self.environ,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=START_TIMEOUT_S,
        ).stdout

    def _control(self, *command: str, check: bool = True) -> int:
        return subprocess.run(
            ["pactl", *command], env=self.environ, check=check, capture_output=True, timeout=START_TIMEOUT_S
        ).returncode
