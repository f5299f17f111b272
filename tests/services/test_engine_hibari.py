"""What is Hibari's alone."""

import threading
from pathlib import Path

import numpy as np
import pytest

from services.asr.whisper import WhisperASR
from services.tts.hibari import HibariTTS
from services.tts.normalization import in_words
from shared.audio.pcm import join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from tests.support.tts_engines import duration_s, loaded, python, spoken

pytestmark = pytest.mark.slow


def test_it_loads_and_speaks_without_a_network_and_writes_nothing(tmp_path: Path) -> None:
    """In a process of its own in which making a socket fails: no download, no id of the machine."""
    say = (
        "import sys, threading\n"
        "def no_socket(event, _):\n"
        "    if event.startswith(('socket.', 'urllib.')): raise RuntimeError(event)\n"
        "sys.addaudithook(no_socket)\n"
        "from services.tts.hibari import HibariTTS\n"
        "engine = HibariTTS(); engine.load()\n"
        "print(sum(piece.duration_s for piece in engine.synthesize('Hello there.', threading.Event())) > 0.5)"
    )
    folders = dict.fromkeys(("HOME", "HIBARI_HOME", "XDG_CACHE_HOME"), str(tmp_path))
    assert python(say, **folders) == "True\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whisper() -> WhisperASR:
    engine = WhisperASR()
    engine.load()
    return engine


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("No.", "no"),
        ("Yes.", "yes"),
        ("What would you like to know?", "what would you like to know"),
        ("The quick brown fox jumps over the lazy dog.", "the quick brown fox jumps over the lazy dog"),
        ("Dr. Smith, e.g., lives on Main St. now.", "doctor smith for example lives on main street now"),
        (
            "It costs €1,200 or -5 °C.",
            "it costs one thousand two hundred euros or minus five degrees celsius",
        ),
    ],
)
def test_what_it_says_is_understood(whisper: WhisperASR, text: str, transcript: str) -> None:
    speech = resample(join(spoken(loaded(HibariTTS), text)), ASR_SAMPLE_RATE_HZ)
    heard = in_words(whisper.transcribe(speech)).lower().replace("-", " ")
    assert "".join(char for char in heard if char.isalpha() or char == " ").split() == transcript.split()


def test_the_same_text_is_the_same_sound() -> None:
    first, second = (spoken(loaded(HibariTTS), "She sells sea shells.") for _ in range(2))
    assert np.array_equal(join(first).samples, join(second).samples)


@pytest.mark.parametrize("text", ["你好。", "Привет!", "مرحبا؟"])
def test_other_scripts_are_left_out(text: str) -> None:
    engine = loaded(HibariTTS)
    assert spoken(engine, text) == []
    assert duration_s(spoken(engine, f"Good evening is {text} in that language.")) > 1


@pytest.mark.parametrize("text", ["No.", "Yes.", "Hi", "OK!", "I.", "a", "7"])
def test_the_shortest_answers_are_spoken_whole(text: str) -> None:
    (speech,) = spoken(loaded(HibariTTS), text)
    assert 0.25 < speech.duration_s < 1.0
    assert np.abs(speech.samples).max() > 0.1


def test_an_abbreviation_is_no_end_of_a_sentence() -> None:
    engine = loaded(HibariTTS)
    whole = "He joined the U.S. Army in Washington D.C. when he was young."
    (speech,) = spoken(engine, whole)
    plain = duration_s(spoken(engine, whole.replace(".", "").replace("US", "U S").replace("DC", "D C")))
    assert speech.duration_s < plain + 0.4  # a pause between two sentences is longer


def test_speech_is_as_loud_as_that_of_other_voices_and_never_clips() -> None:
    speech = join(
        spoken(loaded(HibariTTS), "Stop! Who goes there? Well, it is only me: nobody to be afraid of.")
    )
    frames = speech.samples[: speech.num_samples // 480 * 480].reshape(-1, 480)
    level = np.sqrt((frames**2).mean(axis=1))
    rms_db = 20 * np.log10(np.sqrt((level[level > 0.05 * level.max()] ** 2).mean()))
    assert -23 < rms_db < -17
    assert np.abs(speech.samples).max() < 0.98


def test_a_word_without_end_takes_no_time_and_memory_without_end() -> None:
    """Its cost grows with the square: 120 capitals, each of them spelled, are a minute of speech."""
    pieces = spoken(loaded(HibariTTS), "W" * 120)
    assert len(pieces) > 2
    assert all(piece.duration_s < 30 for piece in pieces)


def test_cancelling_takes_hold_within_a_long_sentence() -> None:
    engine, cancelled = loaded(HibariTTS), threading.Event()
    pieces = engine.synthesize("W" * 120, cancelled)
    next(pieces)
    cancelled.set()
    assert list(pieces) == []
