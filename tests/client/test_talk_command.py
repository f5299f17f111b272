"""`s2s talk` as a person runs it: the command itself, over recordings, on the embedded engines."""

import json
import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from bench.sounds import HZ, example, recording
from client.errors import ExitCode
from services.asr.pocketsphinx import PocketsphinxASR
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, encode_wav, resample
from shared.engines import MODEL_REGISTRY, EngineSpec, RegisteredModel, TTSModel
from shared.errors import Stage
from shared.settings import Settings
from tests.support.s2s_command import S2S, s2s
from tests.support.terminal_screen import ProgramInTerminal
from tests.support.waiting import until

ANSWERED = {
    "my-name-is-peter": "Nice to meet you, Peter.",
    "what-is-my-name": "Your name is Peter.",
    "what-can-you-do": "I am the offline responder",
    "what-is-six-times-seven": "Six times seven is forty-two.",
}
BEGINS_S = dict(zip(ANSWERED, (0.5, 8.0, 15.5, 20.5), strict=True))
"""The last one speaks into the reply before, which takes nine seconds."""
INTERRUPTED = 2
PLAYED_BYTES = round(3.3 * 24_000 * 2)
"""An output file of this size ends with the reply under way: the turn is certain after 2.8 s."""
ESTIMATED_WITHIN_S = 0.1
"""Three windows of voice activity detection, which puts the end of speech 20 to 40 ms early (measured)."""


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

    def __init__(self, folder: Path, said: Pcm, *options: str) -> None:
        folder.mkdir()
        (folder / "said.wav").write_bytes(encode_wav(said))
        self.folder = folder
        self.command = [*S2S, "talk", "--input-wav", "said.wav", "--output-wav", "played.wav"]
        self.command += ["--metrics", "metrics.jsonl", *options]

    def start(self, *, max_file_bytes: int = resource.RLIM_INFINITY) -> "Talking":
        self._process = subprocess.Popen(
            self.command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
        return self

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ended(self) -> Talked:
        """Wait for its end."""
        stdout, stderr = self._process.communicate(timeout=100)
        return Talked(self.folder, stdout, stderr, self._process.returncode)

    def given_up(self) -> None:
        """Nobody may have asked for its end."""
        if self._process.returncode is None:
            self._process.terminate()
            self._process.communicate(timeout=100)


@dataclass(frozen=True)
class Runs:
    """What this module talks about, all at once: recordings take their time."""

    conversation: Talking
    in_noise: Talking
    not_speculative: Talking
    on_full_disk: Talking


@pytest.fixture(scope="module", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("talks")
    lines = [(at_s, example(name)) for name, at_s in BEGINS_S.items()]
    noise = np.random.default_rng(1).normal(0, 0.05, 4 * HZ).astype(np.float32)
    one = recording([(0.5, example("what-is-two-plus-two"))], 2.5)
    runs = Runs(
        Talking(folder / "conversation", recording(lines, 23.0), "--save", "saved").start(),
        Talking(folder / "noise", Pcm(noise.clip(-1, 1), HZ)).start(),
        Talking(folder / "one", one, "--no-speculation").start(),
        Talking(folder / "full", one).start(max_file_bytes=PLAYED_BYTES),
    )
    yield runs
    for talking in (runs.conversation, runs.in_noise, runs.not_speculative, runs.on_full_disk):
        talking.given_up()


class Unloadable(TTSModel):
    """Registered, and chosen where nothing must be loaded."""

    model_name = "unloadable"
    sample_rate_hz = 16_000

    def load(self) -> None:
        raise OSError("there is no voice in it")

    def synthesize(self, text: str, cancelled: threading.Event, **options: str | None) -> Iterator[Pcm]:
        raise AssertionError


def test_in_noise_alone_nothing_is_asked_and_the_end_is_a_good_one(runs: Runs) -> None:
    talked = runs.in_noise.ended()
    assert (talked.exit_code, talked.stderr, talked.turns) == (0, "", [])
    assert re.fullmatch(r"Conversation of \d+ s, no turns: nobody spoke\.\n", talked.stdout)
    assert not talked.played.samples.any()


def test_without_speculation_nothing_is_asked_before_the_turn_is_certain(runs: Runs) -> None:
    talked = runs.not_speculative.ended()
    assert "two plus two is four" in talked.stdout.lower()
    (turn,) = talked.turns
    assert turn["voice_to_voice"]["pause_us"] >= 1e6 * (Settings().end_of_turn_silence_s - ESTIMATED_WITHIN_S)
    assert turn["kept_speculation_us"] is None
    assert "Speculation:" not in talked.stdout


def test_ctrl_c_in_mid_reply_ends_it_with_the_summary_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said = recording([(0.5, example("what-can-you-do"))], 60)
    talking = Talking(tmp_path / "talk", said)
    program = ProgramInTerminal(talking.command, talking.folder, {**os.environ, "S2S_LOG_LEVEL": "INFO"})
    until(lambda: program.screen.has_shown("Speaking") and has_sound(talking.folder / "played.wav"))
    children = psutil.Process(program.process.pid).children(recursive=True)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.ended() == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert (bool(children), alive) == (True, [])
    screen = program.screen
    assert screen.cursor_is_visible
    assert not any(phase in line for line in screen.lines for phase in ("Speaking", "Listening", "Traceback"))
    assert any("1 turn: 1 interrupted." in line for line in screen.lines)
    logged = [line for line in screen.lines if "INFO" in line]
    assert logged
    assert all(re.match(r"\d\d:\d\d:\d\d INFO", line) for line in logged)  # and nothing before it
    talked = Talked(talking.folder, "", "", 0)
    assert [line["record"] for line in talked.lines] == ["conversation_started", "turn", "conversation_ended"]
    assert talked.played.samples.any()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_it_what_was_played_can_be_read(number: signal.Signals, tmp_path: Path) -> None:
    talking = Talking(tmp_path / "talk", recording([(0.5, example("what-can-you-do"))], 60)).start()
    until(lambda: has_sound(talking.folder / "played.wav"))
    os.kill(talking.process_id, number)
    talked = talking.ended()
    assert talked.played.samples.any()
    assert talked.played.duration_s > 1.5  # and not only the first block
    if number is not signal.SIGKILL:
        assert talked.exit_code == ExitCode.SUCCESS
        assert "1 turn: 1 interrupted." in talked.stdout
        assert talked.lines[-1]["record"] == "conversation_ended"


def has_sound(wav: Path) -> bool:
    """Whether there is any in a file that is being written."""
    return wav.exists() and any(wav.read_bytes()[44:])


@pytest.mark.parametrize(
    ("options", "exit_code", "saying"),
    [
        (["--input-wav", "nowhere.wav"], ExitCode.BAD_INPUT, "no file nowhere.wav"),
        (["--input-wav", "text.wav"], ExitCode.BAD_INPUT, "no audio"),
        (["--output-wav", "nowhere/played.wav"], ExitCode.OUTPUT_NOT_WRITTEN, "no directory nowhere"),
        (["--output-wav", "played.mp3"], ExitCode.OUTPUT_NOT_WRITTEN, "ends in .wav"),
        (["--metrics", "nowhere/metrics.jsonl"], ExitCode.OUTPUT_NOT_WRITTEN, "Metrics file nowhere"),
        (["--save", "text.wav"], ExitCode.OUTPUT_NOT_WRITTEN, "Folder text.wav"),
        (["--system", "x" * 10_001], ExitCode.BAD_INPUT, "system_prompt"),
        (["--input-device", "nowhere"], ExitCode.MISCONFIGURED, "microphone|PortAudio"),
        (["--output-device", "nowhere"], ExitCode.MISCONFIGURED, "loudspeaker|PortAudio"),
        ([], ExitCode.MISCONFIGURED, "no voice in it"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_before_anything_is_loaded(
    options: list[str], exit_code: int, saying: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Unloadable.spec = EngineSpec(summary="Cannot be loaded.", licence="MIT")
    unloadable = RegisteredModel(Stage.TTS, "unloadable", Unloadable)
    monkeypatch.setitem(MODEL_REGISTRY[Stage.TTS], "unloadable", unloadable)
    Path("text.wav").write_text("This is no audio. " * 100)
    Path("said.wav").write_bytes(encode_wav(recording([], 0.5)))
    files = {"--input": ["--input-wav", "said.wav"], "--output": ["--output-wav", "played.wav"]}
    others = [one for end, file in files.items() if not "".join(options).startswith(end) for one in file]
    result = s2s("talk", *options, *others, TTS_MODEL="unloadable")
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.splitlines()
    assert re.search(saying, line)
    assert result.stdout == ""
    assert not options or not Path("played.wav").exists()


def test_a_device_and_a_file_for_the_same_end_are_refused() -> None:
    result = s2s("talk", "--input-device", "microphone", "--input-wav", "said.wav")
    assert result.exit_code == ExitCode.USAGE


def test_a_speaker_that_breaks_ends_it_with_the_summary_of_all_turns_and_says_why(runs: Runs) -> None:
    talked = runs.on_full_disk.ended()
    assert talked.exit_code == ExitCode.OUTPUT_NOT_WRITTEN
    assert talked.stderr == "s2s: Output played.wav cannot be written: File too large.\n"
    assert "1 turn: 1 interrupted." in talked.stdout
    assert [line["record"] for line in talked.lines] == ["conversation_started", "turn", "conversation_ended"]


@pytest.fixture(scope="module")
def talked(runs: Runs) -> Talked:
    return runs.conversation.ended()


def question_ends_s(number: int) -> float:
    name = list(BEGINS_S)[number]
    return BEGINS_S[name] + example(name).duration_s


def test_each_question_is_answered_in_its_order_with_what_was_said_before(talked: Talked) -> None:
    assert (talked.exit_code, talked.stderr) == (0, "")
    said = [line for line in talked.stdout.splitlines() if line.startswith(("You ", "Reply "))]
    assert [line[7:] for line in said[::2]] == [name.replace("-", " ") for name in ANSWERED]
    for line, answer in zip(said[1::2], ANSWERED.values(), strict=True):
        assert line.startswith(f"Reply  {answer}")
    assert [turn["outcome"] for turn in talked.turns] == ["completed"] * 2 + ["interrupted", "completed"]


def test_of_an_interrupted_reply_is_printed_what_was_played(talked: Talked) -> None:
    (told,) = (line for line in talked.stdout.splitlines() if "interrupted)" in line)
    assert told.endswith(" … (interrupted)")
    turn = talked.turns[INTERRUPTED]
    assert 0 < turn["played_us"] < turn["reply_us"]


@pytest.mark.needs("flite")
def test_the_output_holds_each_reply_where_it_was_said(talked: Talked) -> None:
    asr = PocketsphinxASR()
    asr.load()
    try:
        begin_s = [talked.first_audio_s(question_ends_s(number)) for number in range(len(BEGINS_S))]
        first_words = [resample(talked.played_between(at_s, at_s + 2.5), HZ) for at_s in begin_s]
        replies = [asr.transcribe(pcm) for pcm in first_words]
    finally:
        asr.close()
    for words, reply in zip(("nice to meet", "is peter", "responder", "forty two"), replies, strict=True):
        assert words in reply


def test_the_reply_falls_silent_for_who_interrupts_it(talked: Talked) -> None:
    interrupted_s = list(BEGINS_S.values())[INTERRUPTED + 1]
    assert talked.played_between(interrupted_s - 0.5, interrupted_s).samples.any()
    assert not talked.played_between(interrupted_s + 0.7, question_ends_s(INTERRUPTED + 1)).samples.any()


def test_voice_to_voice_is_what_the_two_recordings_say(talked: Talked) -> None:
    by_hand_s = []
    for number, turn in enumerate(talked.turns):
        by_hand_s.append(talked.first_audio_s(question_ends_s(number)) - question_ends_s(number))
        measured_s = turn["voice_to_voice"]["total_us"] / 1e6
        assert measured_s == pytest.approx(by_hand_s[-1], abs=ESTIMATED_WITHIN_S)
    turns, average, least, most, *_ = talked.table["Voice-to-voice"]
    assert turns == len(by_hand_s)
    for told_ms, expected_s in (
        (average, np.mean(by_hand_s)),
        (least, min(by_hand_s)),
        (most, max(by_hand_s)),
    ):
        assert told_ms / 1000 == pytest.approx(expected_s, abs=ESTIMATED_WITHIN_S)


def test_the_table_is_what_the_metrics_file_says(talked: Talked) -> None:
    completed = [turn for turn in talked.turns if turn["outcome"] == "completed"]
    busy = [one for turn in completed for one in turn["ledger"]["busy"]]
    durations_us = {
        stage.upper(): [one["busy_us"] for one in busy if one["stage"] == stage]
        for stage in ("asr", "llm", "tts")
    }
    spans = {"Pause": "pause_us", "Time to first audio": "first_audio_us", "Voice-to-voice": "total_us"}
    heard = {name: [turn["voice_to_voice"][span] for turn in talked.turns] for name, span in spans.items()}
    durations_us |= heard | {
        "Pipeline total": [turn["ledger"]["total_us"] for turn in completed],
        "End-to-end": [turn["end_to_end_us"] for turn in completed],
    }
    for name, us in durations_us.items():
        expected_ms = [value / 1000 for value in (np.mean(us), min(us), max(us), np.percentile(us, 50))]
        assert talked.table[name][0] == len(us)
        assert talked.table[name][1:5] == pytest.approx(expected_ms, abs=0.5)
    assert "4 turns: 3 completed, 1 interrupted" in talked.stdout


def test_the_report_prints_the_same_summary_again(talked: Talked) -> None:
    summary = talked.stdout[talked.stdout.index("Conversation of ") :]
    assert s2s("report", talked.folder / "metrics.jsonl").stdout == summary


def test_each_turn_is_kept_in_the_folder_with_its_sound_its_texts_and_its_times(talked: Talked) -> None:
    saved = talked.folder / "saved"
    numbers = [f"turn-{number:03d}" for number in range(1, 5)]
    kinds = ("-question.mp3", "-reply.wav", ".json")
    assert {path.name for path in saved.iterdir()} == {number + kind for number in numbers for kind in kinds}
    for number, turn, (name, answer) in zip(numbers, talked.turns, ANSWERED.items(), strict=True):
        told = json.loads((saved / f"{number}.json").read_text())
        assert told["record"] == turn
        assert told["transcript"] == name.replace("-", " ")
        assert told["reply"].startswith(answer)
        question = (saved / f"{number}-question.mp3").read_bytes()
        assert decode_audio(question, Settings()).duration_s > example(name).duration_s
        reply = decode_audio((saved / f"{number}-reply.wav").read_bytes(), Settings())
        assert reply.duration_s == pytest.approx(turn["reply_us"] / 1e6, abs=1e-3)
