"""`s2s talk` in a process of its own on a headless sound server, and the person who talks with it."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import psutil
import soundfile

from bench.sounds import Samples, example
from client.metrics.metrics_file import (
    ConversationEnded,
    ConversationStarted,
    MetricsLine,
    read_metrics,
)
from conversation.turn_record import TurnRecord
from shared.audio.pcm import Pcm, resample
from tests.support.pulse_audio import RATE_HZ, PulseAudio
from tests.support.s2s_command import S2S
from tests.support.sound_recording import SOUND, Recording

PATIENCE_S = 60.0
"""For what comes in a second or ten."""
COMMAND = [*S2S, "talk"]
DEVICES = ["--input-device", "table_microphone", "--output-device", "table_loudspeaker"]
SETTINGS = {
    "S2S_END_OF_TURN_SILENCE_S": "0.5",
    "S2S_SPEAKER_LATENCY_S": "0.15",  # for a machine that runs other tests meanwhile
    "S2S_LOG_LEVEL": "DEBUG",  # for what ALSA says
}
BREATH_S = 0.3
"""Between a reply and the next question: the last 0.15 s of a turn that is over are still to be heard."""
AFTERWARDS_S = 0.3
"""Until those who were told to end have ended."""
PIECE_S = 0.2
LIKE = 0.95
"""A piece of a reply is resampled twice before it is recorded."""

Found = TypeVar("Found")


@dataclass
class Talked:
    """What came of a conversation. Moments are of time.monotonic()."""

    folder: Path
    speaker: Recording
    microphone: Recording
    turns: list[TurnRecord]
    microphone_lost_us: int
    output: str
    exit_code: int
    ended_at_s: float
    left_over: list[int]
    """Processes that it started and that are still there."""
    streams_left: int
    """Microphones and loudspeakers that it still has open."""
    moments: dict[str, list[float]]
    memory_bytes: list[int]
    ran_dry: bool
    """Whether a device did: this machine was too busy to play or to hear without a gap."""

    @property
    def completed(self) -> list[int]:
        """The turns, from 0, whose reply was heard out."""
        return [turn for turn, record in enumerate(self.turns) if record.outcome == "completed"]

    def texts(self, turn: int) -> dict[str, str]:
        """What was understood (`transcript`), answered (`reply`) and of that `played`."""
        return dict(json.loads((self.folder / f"turn-{turn + 1:03d}.json").read_text()))

    def speaker_between(self, start_s: float, end_s: float) -> Samples:
        """What the loudspeaker said between two moments."""
        return self.speaker.since(start_s)[: round((end_s - start_s) * RATE_HZ)]

    def longest_silence_s(self, start_s: float, end_s: float) -> float:
        """The longest time without a sound between two moments."""
        loud = np.flatnonzero(np.abs(self.speaker_between(start_s, end_s)) > SOUND)
        return float(np.diff(loud, prepend=0, append=round((end_s - start_s) * RATE_HZ)).max()) / RATE_HZ

    def voice_to_voice_s(self, said_at_s: float) -> float:
        """From the end of what was said to the microphone then to the first sound of the loudspeaker."""
        began_s = self.microphone.first_sound_at_s(said_at_s)
        assert began_s
        replied_s = self.speaker.first_sound_at_s(began_s + 0.7)
        assert replied_s
        ended_s = self.microphone.last_sound_at_s(began_s, replied_s)
        assert ended_s
        return replied_s - ended_s

    def lost_pieces(self, turn: int) -> int:
        """How many pieces of that reply, of PIECE_S each, the loudspeaker did not say in their order."""
        samples, rate_hz = soundfile.read(self.folder / f"turn-{turn + 1:03d}-reply.wav", dtype="float32")
        reply = resample(Pcm(samples, rate_hz), RATE_HZ).samples
        size = round(PIECE_S * RATE_HZ)
        pieces = [reply[start : start + size] for start in range(0, len(reply) - size, size)]
        [session_s], record, lost = self.moments["listening"], self.turns[turn], 0
        said = self.speaker_between(session_s + record.began_us / 1e6, session_s + record.ended_us / 1e6 + 1)
        for piece in pieces:
            if np.abs(piece).max() < 5 * SOUND:
                continue  # silence is everywhere
            place = place_of(piece, said)
            if place is None:
                lost += 1
            else:
                said = said[place + size // 2 :]
        return lost


def place_of(piece: Samples, sound: Samples) -> int | None:
    """Where it is in the sound for the first time, played at another rate meanwhile; None if it is not."""
    length = 1 << (sound.size + piece.size).bit_length()
    spectrum = np.fft.rfft(sound, length) * np.conj(np.fft.rfft(piece, length))
    match = np.fft.irfft(spectrum, length)[: max(0, sound.size - piece.size + 1)]
    power = np.cumsum(np.pad(sound.astype(np.float64) ** 2, (1, 0)))
    power = power[piece.size :] - power[: -piece.size]
    alike = np.flatnonzero(match > LIKE * np.sqrt(power * (piece @ piece)) + 1e-3)
    return int(alike[0]) if alike.size else None


class TalkOnDevices:
    """Runs `s2s talk` from entering, which waits until it listens, to leaving, which ends it if need be.

    `speaker` and `microphone` record meanwhile what it says and what it is told.
    """

    def __init__(self, server: PulseAudio, folder: Path, *options: str, **settings: str) -> None:
        self.server = server
        self.folder = folder
        self.saved = folder / "saved"
        self.speaker: Recording = server.recording("speaker")
        self.microphone: Recording = server.recording("micfeed")
        self.output = ""
        self.moments: dict[str, list[float]] = {}
        self.memory_bytes: list[int] = []
        self._metrics = folder / "metrics.jsonl"
        self._command = [*COMMAND, *DEVICES, "--metrics", str(self._metrics), "--save", str(self.saved)]
        self._command += options
        self._environ = {**server.environ, **SETTINGS, **settings}

    def __enter__(self) -> Self:
        self.speaker.__enter__()
        self.microphone.__enter__()
        self.process = subprocess.Popen(
            self._command, env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_for(lambda: any(isinstance(line, ConversationStarted) for line in self.lines))
        self.note("listening")
        self._told_before = len(self.output)
        self._started = psutil.Process(self.process.pid).children(recursive=True)
        self.wait_for(lambda: self.server.streams_of(self.process.pid) == 2)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        self.speaker.__exit__()
        self.microphone.__exit__()

    def say(self, name: str) -> None:
        """Say a question of examples/; returns when it has been said."""
        self.note("said")
        self.say_sound(example(name))

    def say_sound(self, pcm: Pcm) -> None:
        """Play it to the microphone; returns when it has been said."""
        path = self.folder / "said.wav"
        soundfile.write(path, pcm.samples, RATE_HZ, subtype="PCM_16")
        self.server.say_to_microphone(path)

    def ask(self, name: str) -> TurnRecord:
        """Say a question, and hear the reply out."""
        turns = len(self.turns)
        time.sleep(BREATH_S)
        self.say(name)
        return self.wait_for(lambda: self.turns[turns:])[-1]

    def interrupt(self, name: str, *, attempts: int = 1) -> TurnRecord:
        """Say a question into a reply, again if the reply goes on, and hear its own reply out."""
        turns = len(self.turns)
        for _ in range(attempts):
            self.say(name)
            if len(self.turns) > turns:
                break
        return self.wait_for(lambda: self.turns[turns + 1 :])[-1]

    def hear_out(self) -> TurnRecord:
        """Wait until the reply is over."""
        turns = len(self.turns)
        return self.wait_for(lambda: self.turns[turns:])[-1]

    def ask_and_hear(self, name: str, heard_s: float) -> None:
        """Say a question, and hear so much of the reply."""
        time.sleep(BREATH_S)
        self.say(name)
        said_at_s = time.monotonic()
        sounds_at_s = self.wait_for(lambda: self.speaker.first_sound_at_s(said_at_s))
        time.sleep(max(0.0, sounds_at_s + heard_s - time.monotonic()))

    def hang_up(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def outcome(self) -> "Talked":
        """Wait until it has ended; what came of it."""
        exit_code = self.process.wait(PATIENCE_S)
        ended_at_s = time.monotonic()
        self._reader.join()
        time.sleep(AFTERWARDS_S)
        ends = [line for line in self.lines if isinstance(line, ConversationEnded)]
        return Talked(
            folder=self.saved,
            speaker=self.speaker,
            microphone=self.microphone,
            turns=self.turns,
            microphone_lost_us=sum(line.microphone_lost_us for line in ends),
            output=self.output,
            exit_code=exit_code,
            ended_at_s=ended_at_s,
            left_over=[child.pid for child in self._started if child.is_running()],
            streams_left=self.server.streams_of(self.process.pid),
            moments=self.moments,
            memory_bytes=self.memory_bytes,
            ran_dry="snd_pcm_recover" in self.output[self._told_before :],
        )

    @property
    def lines(self) -> list[MetricsLine]:
        """Its metrics file so far."""
        return read_metrics(self._metrics) if self._metrics.exists() else []

    @property
    def turns(self) -> list[TurnRecord]:
        """Those that are over."""
        return [line for line in self.lines if isinstance(line, TurnRecord)]

    def note(self, what: str) -> None:
        """It happens now."""
        self.moments.setdefault(what, []).append(time.monotonic())

    def note_memory(self) -> None:
        """What the process itself takes now, without what it has started."""
        self.memory_bytes.append(psutil.Process(self.process.pid).memory_info().rss)

    def wait_for(self, look: Callable[[], Found | None]) -> Found:
        """What it finds, once there is something to be found."""
        give_up_at_s = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert self.process.poll() is None, f"it has ended:\n{self.output}"
            assert time.monotonic() < give_up_at_s, f"in vain:\n{self.output}"
            time.sleep(0.05)
        return found

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
