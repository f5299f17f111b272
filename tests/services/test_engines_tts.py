"""What each TTS engine of a CPU does with text, voices and languages."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from services.host.tts_host import TTSHost
from services.tts.espeak import EspeakTTS
from services.tts.flite import FliteTTS
from services.tts.hibari import HibariTTS
from shared.audio.pcm import Pcm
from shared.errors import BadRequest, StageFailed
from shared.settings import Settings
from tests.support.tts_engines import MakeEngine, duration_s, loaded, spoken

pytestmark = pytest.mark.slow

EMBEDDED = [pytest.param(FliteTTS, marks=pytest.mark.needs("flite")), EspeakTTS]
each_engine = pytest.mark.parametrize("make", [HibariTTS, *EMBEDDED])
each_with_voices = pytest.mark.parametrize("make", EMBEDDED)


def quick(make: MakeEngine) -> MakeEngine:
    """The same engine, with its quickest voice."""
    return (lambda: FliteTTS("kal16")) if make is FliteTTS else make


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
    assert len(pieces) == (1 if make is EspeakTTS else num_sentences)
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

    before = memory_after(30)
    assert memory_after(60) - before < 3_000_000  # 60 times its sound would be 6 MB and more


@each_engine
def test_an_engine_that_is_not_loaded_says_so(make: MakeEngine) -> None:
    with pytest.raises(StageFailed, match="not loaded"):
        spoken(make(), "Hello.")


@each_with_voices
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
    ("asked", "has"),
    [({"voice": "nobody"}, "kal16|Annie|only its own"), ({"language": "xx"}, "It has: .*en")],
)
async def test_a_voice_or_language_that_it_lacks_is_refused_with_what_it_has(
    make: MakeEngine, asked: dict[str, str], has: str
) -> None:
    host = TTSHost(make(), Settings())
    with pytest.raises(BadRequest, match=has):
        _ = [item async for item in host.synthesize("Hello.", **asked)]
    await host.close()
