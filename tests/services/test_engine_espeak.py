"""What is eSpeak's alone."""

import threading
from pathlib import Path

import espeakng_loader
import pytest

from services.tts.espeak import EspeakTTS
from tests.support.tts_engines import duration_s, loaded, python, spoken


class SetAfter(threading.Event):
    """An event that is set once it has been looked at `looks` times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks_left = looks

    def is_set(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0


def test_espeak_stops_in_the_middle_of_a_sentence() -> None:
    engine = loaded(EspeakTTS)
    sentence = "this is a sentence that takes rather long to say and does not stop anywhere"
    whole, cancelled = SetAfter(10_000), SetAfter(5)
    assert duration_s(list(engine.synthesize(sentence, whole))) > 3
    looks_at_the_whole = 10_000 - whole.looks_left
    assert list(engine.synthesize(sentence, cancelled)) == []
    assert 5 - cancelled.looks_left < looks_at_the_whole / 3
    assert duration_s(spoken(engine, sentence)) > 3  # and it speaks again afterwards


def test_espeak_speaks_each_of_its_languages() -> None:
    engine = loaded(EspeakTTS)
    assert {"en", "de", "fr", "es", "zh", "hi", "ar", "ja", "no"} <= set(engine.languages)

    def lasts_s(text: str, language: str | None) -> float:
        return duration_s(list(engine.synthesize(text, threading.Event(), language=language)))

    assert [language for language in engine.languages if lasts_s("Hello, 1 2 3.", language) < 0.3] == []
    for _ in range(2):
        assert lasts_s("7777", "ar") > lasts_s("7777", "en") + 0.4
        assert lasts_s("7777", None) == pytest.approx(lasts_s("7777", "en"), abs=0.1)


def test_the_speed_of_a_language_does_not_stay_for_the_next_request() -> None:
    engine = loaded(EspeakTTS)
    own_s = duration_s(spoken(engine, "What is two plus two?"))
    for language in ("be", "jbo", "py", "uk"):  # those with a speed of their own
        assert list(engine.synthesize("Hello.", threading.Event(), language=language))
        assert duration_s(spoken(engine, "What is two plus two?")) == pytest.approx(own_s, abs=0.05)


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
