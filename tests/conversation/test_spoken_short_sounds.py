"""Short sounds over a reply, spoken by voices and transcribed by Whisper: which of them are interruptions."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import cache

import pytest

from bench.sounds import HZ, Samples, recording
from conversation.audio import Frame
from conversation.barge_in import BargeInEvent
from conversation.short_sound import ShortSounds
from conversation.tasks import Tasks
from orchestrator.pipeline import Pipeline
from services.asr.whisper import WhisperASR
from services.host.asr_host import ASRHost
from services.tts.hibari import HibariTTS
from shared.audio.pcm import Pcm, join, resample
from shared.settings import Settings
from tests.conversation.test_listening import frames
from tests.support.flite_speech import flite_says
from tests.support.hearing import Hearing
from tests.support.scripted_stages import cast

pytestmark = pytest.mark.slow


@dataclass
class Stages:
    """Whisper, and nothing that could answer."""

    asr: ASRHost

    def __post_init__(self) -> None:
        nobody = cast(llm=[[AssertionError("nobody is to answer")]])
        self.transcribe, self.generate, self.synthesize = (
            self.asr.transcribe,
            nobody.generate,
            nobody.synthesize,
        )


@asynccontextmanager
async def whisper() -> AsyncIterator[Stages]:
    async with AsyncExitStack() as stack:
        host = ASRHost(WhisperASR(), Settings())
        stack.push_async_callback(host.close)
        await host.load()
        yield Stages(host)


@cache
def hibari() -> HibariTTS:
    voice = HibariTTS()
    voice.load()
    return voice


def hibari_says(text: str) -> Pcm:
    return resample(join(list(hibari().synthesize(text, threading.Event()))), HZ)


def short_sound(speech: Pcm) -> Samples:
    """What the listener hears of it, when it says that it is over."""
    with closing(Hearing(Settings())) as listener:
        listener.reply_audible()
        for frame in frames(recording([(1.0, speech)], speech.duration_s + 2.3).samples):
            if BargeInEvent.SHORT_SOUND in listener.hear(Frame(frame)):
                return listener.said(8.0)
    raise AssertionError("it is not short")


async def interruptions(say: Callable[[str], Pcm], words: Sequence[str]) -> list[str]:
    """Those of the words that interrupt."""
    interrupting = []
    async with whisper() as stages:
        sounds = ShortSounds(
            Pipeline(stages, Settings()).stream, Settings(), Tasks(), session_id="session", time_limit_s=60.0
        )
        for word in words:
            sounds.decide(short_sound(say(word)))
            while (decision := sounds.decision()) is None:  # noqa: ASYNC110 (as a conversation asks)
                await asyncio.sleep(0.01)
            if decision:
                interrupting.append(word)
    return interrupting


STOP = ["Stop.", "No.", "Wait."]


async def test_a_neural_voice_stops_the_reply_with_a_word_and_not_with_a_back_channel() -> None:
    back_channels = ["mm-hm", "Uh huh.", "Yeah."]
    assert await interruptions(hibari_says, [*STOP, *back_channels]) == STOP


@pytest.mark.needs("flite")
async def test_so_does_flite() -> None:
    assert await interruptions(flite_says, [*STOP, "Okay.", "Yeah."]) == STOP
