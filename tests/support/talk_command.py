"""Runs of `s2s talk` over recordings, each in a folder of its own."""

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from shared.audio.pcm import Pcm, encode_wav
from tests.support.paths import ROOT
from tests.support.s2s_command import S2S
from tests.support.waiting import GIVE_UP_S

ESTIMATED_WITHIN_S = 0.1
"""Three windows of voice activity detection, which puts the end of speech 20 to 40 ms early (measured)."""


ON_VIRTUAL_CLOCK = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.virtual_clock import always
always()
from client.cli import main
main()
"""


@dataclass(frozen=True)
class Talked:
    """A run of the command that has ended, in a folder of its own."""

    folder: Path
    stdout: str
    stderr: str
    exit_code: int

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The metrics file."""
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    @property
    def turns(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["record"] == "turn"]

    @cached_property
    def played(self) -> Pcm:
        """What the speaker played."""
        samples, rate_hz = soundfile.read(self.folder / "played.wav", dtype="float32")
        return Pcm(samples, rate_hz)

    def played_between(self, begin_s: float, end_s: float) -> Pcm:
        begin, end = round(begin_s * self.played.sample_rate_hz), round(end_s * self.played.sample_rate_hz)
        return Pcm(self.played.samples[begin:end].copy(), self.played.sample_rate_hz)

    def first_audio_s(self, after_s: float) -> float:
        part = self.played_between(after_s, self.played.duration_s)
        return after_s + float(np.flatnonzero(part.samples)[0]) / part.sample_rate_hz

    @property
    def table(self) -> dict[str, list[int]]:
        """The rows of the summary: turns, and then milliseconds."""
        rows = re.findall(r"^ (\w[-\w ]*?) {2,}((?:[\d,]+ +){6})$", self.stdout, re.MULTILINE)
        return {name: [int(cell) for cell in cells.replace(",", "").split()] for name, cells in rows}


class Talking:
    """A run of the command over a recording, under way."""

    def __init__(self, folder: Path, said: Pcm, *options: str, at_once: bool = False) -> None:
        """`at_once`: on a virtual clock, on which engines take no time."""
        folder.mkdir()
        (folder / "said.wav").write_bytes(encode_wav(said))
        self.folder = folder
        command = [sys.executable, "-c", ON_VIRTUAL_CLOCK] if at_once else S2S
        self.command = [*command, "talk", "--input-wav", "said.wav", "--output-wav", "played.wav"]
        self.command += ["--metrics", "metrics.jsonl", *options]

    def start(self, **environ: str) -> "Talking":
        self._process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def limit_file_bytes(self, most: int) -> None:
        """From now on its files grow no larger."""
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most, most))

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ended(self) -> Talked:
        """Wait for its end."""
        stdout, stderr = self._process.communicate(timeout=GIVE_UP_S)
        return Talked(self.folder, stdout, stderr, self._process.returncode)

    def given_up(self) -> None:
        """Nobody may have asked for its end."""
        if self._process.returncode is None:
            self._process.terminate()
            self._process.communicate(timeout=GIVE_UP_S)
