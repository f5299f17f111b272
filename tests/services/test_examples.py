from collections.abc import Iterator

import pytest

from examples.make_examples import QUESTIONS, spoken
from services.asr.pocketsphinx import PocketsphinxASR
from services.asr.whisper import WhisperASR
from services.tts.flite import FliteTTS
from shared.audio.decode import decode_audio, decode_mp3
from shared.engines import ASRModel
from shared.settings import Settings
from tests.support.paths import EXAMPLES
from tests.support.rules_replies import answer

pytestmark = pytest.mark.slow

EXPECTED = {
    "hello": "Hello. What can I do for you?",
    "my-name-is-peter": "Nice to meet you, Peter.",
    "tell-me-a-joke": 'I heard: "tell me a joke".',
    "what-can-you-do": "I am the offline responder",
    "what-is-my-name": "You have not told me your name yet.",
    "what-is-six-times-seven": "Six times seven is forty-two.",
    "what-is-the-date-today": "Today is Monday, November twenty-third, twenty twenty-six.",
    "what-is-two-plus-two": "Two plus two is four.",
    "what-time-is-it": "It is ten past three in the afternoon.",
}


@pytest.fixture(scope="module", params=[WhisperASR, PocketsphinxASR])
def asr(request: pytest.FixtureRequest) -> Iterator[ASRModel]:
    engine: ASRModel = request.param()
    engine.load()
    yield engine
    engine.close()


def test_every_example_is_there_and_expected() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.mp3")} == QUESTIONS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_example_is_heard_and_answered(asr: ASRModel, name: str) -> None:
    question = decode_audio((EXAMPLES / f"{name}.mp3").read_bytes(), Settings())
    assert answer(asr.transcribe(question)).lower().startswith(EXPECTED[name].lower())


@pytest.mark.needs("flite")
def test_a_fresh_example_is_heard_and_answered_like_the_one_that_is_there(asr: ASRModel) -> None:
    engine = FliteTTS()
    engine.load()
    question = spoken(engine, QUESTIONS["what-is-two-plus-two"])
    assert answer(asr.transcribe(decode_mp3(question))) == EXPECTED["what-is-two-plus-two"]
