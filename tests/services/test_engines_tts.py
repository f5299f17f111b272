import ctypes
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import espeakng_loader
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.host.tts_host import TTSHost
from services.tts.espeak import EspeakTTS
from services.tts.flite import FliteTTS
from services.tts.preparation import MAX_CHARACTERS, to_ascii, utterances
from shared.audio.pcm import Pcm
from shared.engines import TTSModel
from shared.errors import BadRequest, EngineLoadFailed, StageFailed
from shared.settings import Settings
from tests.support.paths import ROOT

MakeEngine = Callable[[], TTSModel]

each_engine = pytest.mark.parametrize(
    "make", [pytest.param(FliteTTS, marks=pytest.mark.needs("flite")), EspeakTTS]
)
needs_flite = pytest.mark.needs("flite")


class SetAfter(threading.Event):
    """An event that is set once it has been looked at `looks` times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks_left = looks

    def is_set(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0


def loaded(make: MakeEngine) -> TTSModel:
    engine = make()
    engine.load()
    return engine


def quick(make: MakeEngine) -> MakeEngine:
    """The same engine, with its quickest voice."""
    return (lambda: FliteTTS("kal16")) if make is FliteTTS else make


def spoken(engine: TTSModel, text: str) -> list[Pcm]:
    return list(engine.synthesize(text, threading.Event()))


def duration_s(pieces: list[Pcm]) -> float:
    return sum(piece.duration_s for piece in pieces)


@each_engine
@pytest.mark.parametrize(
    ("text", "num_sentences"),
    [
        ("Hello there. What is two plus two? I think that it is four, Dr. Smith!", 3),
        ("We meet at 5 p.m. today. On Jan. 5 it was cold.", 2),
        ("Look at No. 5, e.g. in the U.S. today.", 1),
    ],
)
def test_speech_is_cut_at_the_ends_of_sentences_alone(
    make: MakeEngine, text: str, num_sentences: int
) -> None:
    engine = loaded(make)
    pieces = spoken(engine, text)
    assert len(pieces) == (num_sentences if make is FliteTTS else 1)
    assert {piece.sample_rate_hz for piece in pieces} == {engine.spec.sample_rate_hz}
    assert all(0.5 < piece.duration_s < 6 for piece in pieces)
    assert all(np.abs(piece.samples).max() > 0.1 for piece in pieces)


@each_engine
def test_long_text_is_cut_so_that_its_first_piece_comes_early(make: MakeEngine) -> None:
    engine = loaded(make)
    pieces = spoken(engine, "This is a sentence of fifty characters, more or so. " * 8)
    assert len(pieces) >= 2
    assert {piece.sample_rate_hz for piece in pieces} == {engine.spec.sample_rate_hz}


@each_engine
def test_a_sentence_without_punctuation_is_spoken_in_pieces_and_whole(make: MakeEngine) -> None:
    engine = loaded(make)
    pieces = spoken(engine, "one two three four five " * 15)
    assert len(pieces) >= 2
    assert duration_s(pieces) > 9 * duration_s(spoken(engine, "one two three four five"))


@each_engine
def test_a_piece_has_little_silence_before_and_after_it(make: MakeEngine) -> None:
    for piece in spoken(loaded(make), "Hello there. What is two plus two?"):
        level = np.abs(piece.samples)
        (audible,) = np.nonzero(level > 0.02 * level.max())
        before_s = audible[0] / piece.sample_rate_hz
        after_s = (piece.num_samples - audible[-1]) / piece.sample_rate_hz
        assert before_s < 0.1
        assert 0.02 < after_s < 0.3


@each_engine
@pytest.mark.parametrize("text", ["", " \n\t", "...", "?!", "\0", "👍🏽", "-", "\u200b", '""'])
def test_where_there_is_nothing_to_say_nothing_is_said(make: MakeEngine, text: str) -> None:
    assert spoken(loaded(make), text) == []


@each_engine
def test_accents_signs_emoji_and_control_characters_do_not_stop_speech(make: MakeEngine) -> None:
    engine = loaded(make)
    plain = duration_s(spoken(engine, 'The naive "cafe" is open...'))
    fancy = duration_s(spoken(engine, "The naïve\0 “café” 👍🏽 is\x07 open…"))
    assert fancy == pytest.approx(plain, abs=0.3)


@each_engine
def test_after_cancelling_no_piece_comes(make: MakeEngine) -> None:
    engine = loaded(make)
    cancelled = threading.Event()
    pieces = engine.synthesize("This is one sentence of a good many. " * 14, cancelled)
    next(pieces)
    cancelled.set()
    assert list(pieces) == []
    assert list(engine.synthesize("One sentence.", cancelled)) == []


def test_espeak_stops_in_the_middle_of_a_sentence() -> None:
    engine = loaded(EspeakTTS)
    sentence = "this is a sentence that takes rather long to say and does not stop anywhere"
    whole, cancelled = SetAfter(10_000), SetAfter(5)
    assert duration_s(list(engine.synthesize(sentence, whole))) > 3
    looks_at_the_whole = 10_000 - whole.looks_left
    assert list(engine.synthesize(sentence, cancelled)) == []
    assert 5 - cancelled.looks_left < looks_at_the_whole / 3
    assert duration_s(spoken(engine, sentence)) > 3  # and it speaks again afterwards


@each_engine
def test_several_threads_may_speak_at_once(make: MakeEngine) -> None:
    engines = [loaded(quick(make)), loaded(quick(make))]
    texts = ["Yes.", "This sentence takes a good deal longer to say."] * 20
    alone = [duration_s(spoken(engines[0], text)) for text in texts[:2]] * 20

    def say(job: tuple[int, str]) -> float:
        number, text = job
        return duration_s(spoken(engines[number % 2], text))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(say, enumerate(texts))) == pytest.approx(alone, abs=0.1)


@each_engine
def test_speaking_often_takes_no_more_memory(make: MakeEngine) -> None:
    engine = loaded(quick(make))
    process = psutil.Process()

    def memory_after(times: int) -> int:
        for _ in range(times):
            spoken(engine, "Hello there, how are you today?")
        return process.memory_info().rss

    before = memory_after(50)
    assert memory_after(200) - before < 5_000_000  # 200 times its sound would be 12 MB and more


@each_engine
def test_an_engine_that_is_not_loaded_says_so(make: MakeEngine) -> None:
    with pytest.raises(StageFailed, match="not loaded"):
        spoken(make(), "Hello.")


@each_engine
def test_a_request_chooses_among_the_voices(make: MakeEngine) -> None:
    engine = loaded(make)

    def speech(voice: str | None) -> Pcm:
        (segment,) = engine.synthesize("What is two plus two?", threading.Event(), voice=voice)
        return segment

    assert len(engine.voices) >= 4
    for voice in engine.voices:
        segment = speech(voice)
        assert segment.sample_rate_hz == engine.spec.sample_rate_hz
        assert segment.duration_s > 0.5
    man, woman = {"flite": ("rms", "slt")}.get(engine.model_name.split()[0], ("m3", "f2"))
    for _ in range(2):
        assert pitch_hz(speech(woman)) > 1.2 * pitch_hz(speech(man))
    own = [speech(None).duration_s for _ in range(2)]  # not that of the request before
    assert own == pytest.approx([speech(None).duration_s] * 2, abs=0.1)


def pitch_hz(speech: Pcm) -> float:
    """The median of the voiced frames'."""
    frame, shortest, longest = 1024, speech.sample_rate_hz // 400, speech.sample_rate_hz // 60
    pitches = []
    for samples in speech.samples[: speech.num_samples // frame * frame].reshape(-1, frame):
        alike = np.correlate(samples, samples, "full")[frame - 1 :]
        lag = shortest + int(np.argmax(alike[shortest:longest]))
        if np.abs(samples).max() > 0.1 and alike[lag] > 0.5 * alike[0]:
            pitches.append(speech.sample_rate_hz / lag)
    return float(np.median(pitches))


@each_engine
@pytest.mark.parametrize(
    ("asked", "has"), [({"voice": "nobody"}, "kal16|Annie"), ({"language": "xx"}, "It has: .*en")]
)
async def test_a_voice_or_language_that_it_lacks_is_refused_with_what_it_has(
    make: MakeEngine, asked: dict[str, str], has: str
) -> None:
    host = TTSHost(make(), Settings())
    with pytest.raises(BadRequest, match=has):
        _ = [item async for item in host.synthesize("Hello.", **asked)]
    await host.close()


@needs_flite
def test_flite_speaks_english_alone() -> None:
    assert loaded(FliteTTS).languages == ("en",)


def test_espeak_speaks_each_of_its_languages() -> None:
    engine = loaded(EspeakTTS)
    assert {"en", "de", "fr", "es", "zh", "hi", "ar", "ja", "no"} <= set(engine.languages)

    def lasts_s(text: str, language: str | None) -> float:
        return duration_s(list(engine.synthesize(text, threading.Event(), language=language)))

    assert [language for language in engine.languages if lasts_s("Hello, 1 2 3.", language) < 0.3] == []
    for _ in range(2):
        assert lasts_s("7777", "ar") > lasts_s("7777", "en") + 0.4
        assert lasts_s("7777", None) == pytest.approx(lasts_s("7777", "en"), abs=0.1)


@needs_flite
@pytest.mark.parametrize("text", ["你好。", "Привет!", "مرحبا؟"])
def test_flite_leaves_out_other_scripts(text: str) -> None:
    engine = loaded(FliteTTS)
    assert spoken(engine, text) == []
    assert duration_s(spoken(engine, f"Good evening is {text} in that language.")) > 1


@needs_flite
@pytest.mark.parametrize(
    "text",
    [
        "Really" + "!" * 500,
        "(" * 500 + "well" + ")" * 500,
        "'\"" * 300 + "yes",
        "wait" + ".!?" * 200,
    ],
)
def test_runs_of_punctuation_do_not_crash_flite(text: str) -> None:
    """They overflow a buffer of libflite, so they are said in a process of their own."""
    say = (
        "import threading; from services.tts.flite import FliteTTS;"
        f"engine = FliteTTS('kal16'); engine.load(); text = {text!r};"
        "print(all([list(engine.synthesize(text, threading.Event())) for _ in range(20)]))"
    )
    assert python(say) == "True\n"


def test_without_the_library_flite_says_which_package_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str, mode: int = 0) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert FliteTTS.missing() == "libflite: apt install libflite1"
    with pytest.raises(EngineLoadFailed, match="apt install libflite1"):
        FliteTTS().load()


def test_espeak_works_from_a_deep_folder_and_leaves_no_file_behind(tmp_path: Path) -> None:
    deep, scratch = tmp_path / ("deep" * 25) / ("deeper" * 15), tmp_path / "scratch"
    deep.mkdir(parents=True)
    scratch.mkdir()
    (deep / "espeakng_loader").symlink_to(Path(espeakng_loader.__file__).parent)
    say = (
        "import threading, os, espeakng_loader; from services.tts.espeak import EspeakTTS;"
        "engine = EspeakTTS(); engine.load();"
        "(piece,) = engine.synthesize('Hello there.', threading.Event());"
        "print(len(espeakng_loader.get_data_path()) > 200, piece.duration_s > 0.5)"
    )
    assert python(say, PYTHONPATH=str(deep), TMPDIR=str(scratch)) == "True True\n"
    assert list(scratch.iterdir()) == []


@given(st.text(st.sampled_from("abz 19.,;:!?'\"()\n") | st.characters(codec="ascii"), max_size=600))
def test_utterances_lose_no_word_and_keep_their_bounds(text: str) -> None:
    pieces = list(utterances(text))
    letters = "".join(re.findall(r"[A-Za-z0-9]", text))
    assert "".join(re.findall(r"[A-Za-z0-9]", "".join(pieces))) == letters
    assert all(0 < len(piece) <= MAX_CHARACTERS for piece in pieces)
    assert not any(re.search(r"[^\w\s]{4}", piece) for piece in pieces)
    assert not any(re.search(r"[\x00-\x1f]", piece) for piece in pieces)


@given(st.text())
def test_ascii_is_made_of_any_text(text: str) -> None:
    assert to_ascii(text).isascii()


def test_signs_are_said_in_words() -> None:
    said = " ".join(to_ascii("20 °C – Élan, “naïve” Straße: 5 × 3 ÷ 2 … £3.50").split())
    assert said == '20 degrees C , Elan, "naive" Strasse: 5 times 3 divided by 2 ... 3.50 pounds'


def python(code: str, **environment: str) -> str:
    """What a process of its own prints; it must end well and say nothing on standard error."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout
