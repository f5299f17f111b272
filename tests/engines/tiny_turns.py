"""Turns with the tiny models: what is asked, and whether what is told is the right answer."""

import numpy as np
import pytest

from services.tts.chatterbox import SAMPLE_RATE_HZ
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.turn import ReplyDelta, SpeechChunk, TranscriptReady, TurnRequest
from tests.engines.tiny_chatterbox import NUM_TOKENS, TOKENS_OF_SILENCE
from tests.engines.tiny_llm import DIALOGUES, SYSTEM_PROMPT
from tests.engines.tone_language import over_speech, spoken
from tests.support.answering_deployment import Told
from tests.support.paths import EXAMPLES

QUESTION = "Hello how are you"

_CHUNK_SAMPLES = (NUM_TOKENS + TOKENS_OF_SILENCE) * SAMPLE_RATE_HZ // 25


def question(words: str = QUESTION, *, max_tokens: int = 200) -> TurnRequest:
    """A request that says these words in the tone language, over speech that opens the speech gate."""
    speech = decode_audio((EXAMPLES / "hello.mp3").read_bytes(), Settings())
    tones = spoken(words.split(), np.random.default_rng(1))
    sound = over_speech(tones, resample(speech, ASR_SAMPLE_RATE_HZ))
    return TurnRequest(
        audio=encode_mp3(sound), system_prompt=SYSTEM_PROMPT, max_tokens=max_tokens, temperature=0.0
    )


def check_answered(told: Told) -> None:
    """Assert that QUESTION was heard, answered and spoken, and told in order."""
    assert told.completed, told.failure
    assert not told.doubled()
    assert heard(told) == [QUESTION]
    reply = DIALOGUES[QUESTION]
    assert "".join(event.text for event in told.events if isinstance(event, ReplyDelta)) == reply
    assert " ".join({chunk.index: chunk.text for chunk in told.spoken}.values()) == reply
    for chunk in told.spoken:
        _check_speech(chunk)


def heard(told: Told) -> list[str]:
    """The transcripts that were told: one, if all is well."""
    return [event.text for event in told.events if isinstance(event, TranscriptReady)]


def _check_speech(chunk: SpeechChunk) -> None:
    """Assert that it is what the tiny Chatterbox speaks: as long whatever the text, at the model's rate."""
    assert isinstance(chunk.audio, Mp3Audio)
    assert chunk.audio.sample_rate_hz == SAMPLE_RATE_HZ
    pcm = to_pcm(chunk.audio)
    assert pcm.num_samples == chunk.audio.num_samples == pytest.approx(_CHUNK_SAMPLES, rel=0.2)
    assert np.abs(pcm.samples).max() > 0.01
