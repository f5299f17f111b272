"""`s2s talk` over recordings: how it ends, and what is refused before it begins."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.sounds import HZ, example, recording
from client.errors import ExitCode
from shared.audio.pcm import Pcm, encode_wav
from shared.engines import MODEL_REGISTRY, EngineSpec, RegisteredModel, TTSModel
from shared.errors import Stage
from shared.settings import Settings
from tests.support.processes import is_running
from tests.support.s2s_command import s2s
from tests.support.talk_command import ESTIMATED_WITHIN_S, Talked, Talking
from tests.support.terminal_screen import ProgramInTerminal
from tests.support.waiting import until

LOADED_AT_ONCE = {"ASR_MODEL": "pocketsphinx", "TTS_MODEL": "espeak"}
"""Engines that are not what is tested here."""


@dataclass(frozen=True)
class Runs:
    """What this module talks about, all at once: recordings take their time."""

    in_noise: Talking
    not_speculative: Talking
    with_turn_detection: Talking


@pytest.fixture(scope="module", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("talks")
    noise = np.random.default_rng(1).normal(0, 0.05, 4 * HZ).astype(np.float32)
    one = recording([(0.5, example("what-is-two-plus-two"))], 2.5)
    smart = {"S2S_TURN_DETECTION": "smart", "S2S_END_OF_TURN_SILENCE_S": "5"}
    runs = Runs(
        Talking(folder / "noise", Pcm(noise.clip(-1, 1), HZ), at_once=True).start(**LOADED_AT_ONCE),
        Talking(folder / "one", one, "--no-speculation", at_once=True).start(**LOADED_AT_ONCE),
        Talking(folder / "smart", one, at_once=True).start(**smart, **LOADED_AT_ONCE),
    )
    yield runs
    for talking in (runs.in_noise, runs.not_speculative, runs.with_turn_detection):
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
    about_the_llm, summary = talked.stdout.splitlines()
    assert "table of rules" in about_the_llm
    assert re.fullmatch(r"Conversation of \d+ s, no turns: nobody spoke\.", summary)
    assert not talked.played.samples.any()


def test_without_speculation_nothing_is_asked_before_the_turn_is_certain(runs: Runs) -> None:
    talked = runs.not_speculative.ended()
    assert "two plus two is four" in talked.stdout.lower()
    (turn,) = talked.turns
    assert turn["voice_to_voice"]["pause_us"] >= 1e6 * (Settings().end_of_turn_silence_s - ESTIMATED_WITHIN_S)
    assert turn["kept_speculation_us"] is None
    assert "Speculation:" not in talked.stdout


def test_with_turn_detection_the_model_ends_the_turn_and_the_summary_says_so(runs: Runs) -> None:
    talked = runs.with_turn_detection.ended()
    assert "two plus two is four" in talked.stdout.lower()
    ((end,),) = (turn["ends"] for turn in talked.turns)
    assert end["ended_by"] == "model"
    assert end["silence_us"] < 5_000_000
    assert "Turns ended by turn detection: 1, after " in talked.stdout


def test_ctrl_c_in_mid_reply_ends_it_with_the_summary_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said = recording([(0.5, example("what-can-you-do"))], 60)
    talking = Talking(tmp_path / "talk", said)
    program = ProgramInTerminal(
        talking.command,
        talking.folder,
        # pocketsphinx has a process of its own.
        {**os.environ, "S2S_LOG_LEVEL": "INFO", **LOADED_AT_ONCE},
    )
    until(lambda: program.screen.has_shown("Speaking") and has_sound(talking.folder / "played.wav"))
    children = psutil.Process(program.process.pid).children(recursive=True)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.ended() == 0
    assert children
    until(lambda: not any(map(is_running, children)))
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
    said = recording([(0.5, example("what-can-you-do"))], 60)
    talking = Talking(tmp_path / "talk", said).start(**LOADED_AT_ONCE)
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


def test_a_speaker_that_breaks_ends_it_with_the_summary_of_all_turns_and_says_why(tmp_path: Path) -> None:
    said = recording([(0.5, example("what-can-you-do"))], 60)
    talking = Talking(tmp_path / "talk", said).start(**LOADED_AT_ONCE)
    played = talking.folder / "played.wav"
    until(lambda: has_sound(played))
    talking.limit_file_bytes(played.stat().st_size)  # as on a full disk
    talked = talking.ended()
    assert talked.exit_code == ExitCode.OUTPUT_NOT_WRITTEN
    assert talked.stderr == "s2s: Output played.wav cannot be written: File too large.\n"
    assert "1 turn: 1 interrupted." in talked.stdout
    assert [line["record"] for line in talked.lines] == ["conversation_started", "turn", "conversation_ended"]
