"""What is flite's alone."""

import ctypes

import pytest

from services.tts.flite import FliteTTS
from shared.errors import EngineLoadFailed
from tests.support.tts_engines import duration_s, loaded, python, spoken

needs_flite = pytest.mark.needs("flite")


@needs_flite
def test_flite_speaks_english_alone() -> None:
    assert loaded(FliteTTS).languages == ("en",)


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
