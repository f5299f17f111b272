"""The measurement of word error rates, on engines whose errors are known."""

from pathlib import Path

import numpy as np
import pytest

from bench.recognition import (
    Choice,
    choices,
    conditions,
    example_speech,
    human_speech,
    recognition_table,
    recognized,
)
from bench.sounds import HZ
from examples.make_examples import QUESTIONS
from shared.audio.pcm import Pcm, encode_wav
from shared.engines import ASRModel

SPEECH = {"examples": example_speech()}


class Deaf(ASRModel):
    """It hears the same words always."""

    model_name = "deaf"

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        return "What is 6 times 7?"


def test_what_the_examples_say_is_known_and_one_is_transcribed_without_an_error() -> None:
    steps: list[None] = []
    (row,) = recognized(Choice("deaf", Deaf, {}), SPEECH, {"clean": np.array}, lambda: steps.append(None))
    assert row.words == sum(len(words.split()) for words in QUESTIONS.values())
    assert row.utterances == len(steps) == len(QUESTIONS)
    assert 0.5 < row.error_rate < 1
    assert row.error_rate == row.errors / row.words


def test_the_table_has_a_column_for_each_condition() -> None:
    rows = recognized(Choice("deaf", Deaf, {}), SPEECH, {"clean": np.array, "loud": np.array}, lambda: None)
    assert [row.condition for row in rows] == ["clean", "loud"]
    table = recognition_table(rows)
    assert [column.header for column in table.columns][2:5] == ["words", "clean", "loud"]
    assert table.row_count == 1


def test_without_recordings_speech_is_clean_or_a_telephones() -> None:
    assert list(conditions(None)) == ["clean", "8 kHz"]
    assert human_speech(None) == []


def test_recordings_that_are_there_are_found_with_what_they_say(tmp_path: Path) -> None:
    noise = Pcm(np.random.default_rng(0).uniform(-0.1, 0.1, HZ).astype(np.float32), HZ)
    (tmp_path / "jfk.flac").write_bytes(encode_wav(noise))
    (tmp_path / "office-ambience.mp3").write_bytes(encode_wav(noise))
    (speech,) = human_speech(tmp_path)
    assert speech.words.startswith("and so my fellow americans")
    assert list(conditions(tmp_path)) == ["clean", "office noise, 10 dB", "8 kHz"]


def test_noise_is_as_much_weaker_as_it_says(tmp_path: Path) -> None:
    noise = Pcm(np.random.default_rng(0).uniform(-0.1, 0.1, HZ).astype(np.float32), HZ)
    (tmp_path / "office-ambience.mp3").write_bytes(encode_wav(noise))
    speech = np.sin(np.arange(HZ, dtype=np.float32))
    in_noise = conditions(tmp_path)["office noise, 10 dB"](speech)
    rest = in_noise - speech * (in_noise @ speech) / (speech @ speech)
    assert 10 * np.log10(np.mean(in_noise**2) / np.mean(rest**2)) == pytest.approx(10.4, abs=0.3)


def test_a_telephone_passes_nothing_above_four_kilohertz_on() -> None:
    high, low = (np.sin(2 * np.pi * hz / 16_000 * np.arange(HZ, dtype=np.float32)) for hz in (5_000, 1_000))
    telephone = conditions(None)["8 kHz"]
    assert np.abs(telephone(high)[1_000:-1_000]).max() < 0.05
    assert np.abs(telephone(low)[1_000:-1_000]).max() > 0.9


def test_an_engine_that_runs_here_is_measured_and_what_others_lack_is_said() -> None:
    there, lacking = choices()
    assert "pocketsphinx" in [one.name for one in there]
    measured = {one.name.split()[0] for one in there}
    assert all(": " in what and what.split(":")[0] not in measured for what in lacking)
