"""The REST API on real engines of this machine: what is synthesized is understood again."""

from typing import Any

import pytest
from openai.types.audio import TranscriptionVerbose

from orchestrator.in_process import InProcessStages
from services.selection import select
from shared.settings import Settings
from tests.gateway.rest.conftest import rest_api
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.slow

MODELS: dict[str, Any] = {"asr_model": "whisper", "llm_model": "rules", "tts_model": "espeak"}


async def test_a_question_is_transcribed_answered_spoken_and_understood_again() -> None:
    settings = Settings(**MODELS)
    async with InProcessStages(select(settings), settings) as engines, rest_api(engines, **MODELS) as api:
        audio = EXAMPLES / "what-is-two-plus-two.mp3"
        question = (await api.client.audio.transcriptions.create(file=audio, model="whisper-1")).text
        assert "2 plus 2" in question.lower()
        timed = await api.client.audio.transcriptions.create(
            file=audio, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert isinstance(timed, TranscriptionVerbose)
        assert timed.words
        assert " ".join(word.word for word in timed.words) == question
        assert 0.0 < timed.words[-1].start < timed.words[-1].end <= timed.duration
        answer = await api.client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}]
        )
        reply = answer.choices[0].message.content
        assert reply
        assert "four" in reply.lower()
        spoken = await api.client.audio.speech.create(
            input="The weather is sunny today.", model="tts-1", voice="alloy", response_format="wav"
        )
        understood = await api.client.audio.transcriptions.create(
            file=("speech.wav", spoken.content), model="whisper-1"
        )
        assert "sunny today" in understood.text.lower()
