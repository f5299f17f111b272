"""From what the microphone hears to what is said: utterances that begin, pause and end, and sounds that are
made during a reply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from conversation.barge_in import BargeIn, BargeInEvent
from conversation.endpointing import (
    Endpointer,
    EndpointingEvent,
    PauseReached,
    SpeechDropped,
    SpeechResumed,
    SpeechStarted,
    UtteranceEnded,
)
from conversation.recent_audio import RecentAudio
from conversation.sample_clock import SampleClock
from conversation.utterance import UtteranceEncoder
from conversation.voice_activity import VoiceActivity
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Mp3Audio
from shared.settings import Settings

Window = NDArray[np.float32]
"""512 samples at 16 kHz."""

_FIRST_SOUNDS_S = 0.5
"""More than the detector needs to find speech, which is when the pre-roll is looked up."""


@dataclass(frozen=True)
class UtteranceBegan:
    """Somebody may be speaking, since `at_s`."""

    at_s: float


@dataclass(frozen=True)
class UtterancePaused:
    """The speaker is silent since `speech_end_s`, and perhaps has finished. `audio` is what they said."""

    audio: Mp3Audio
    speech_end_s: float


@dataclass(frozen=True)
class UtteranceResumed:
    """They go on."""


@dataclass(frozen=True)
class UtteranceFinished(UtterancePaused):
    """They have finished. `audio` is the same as that of an UtterancePaused that nothing came after."""


@dataclass(frozen=True)
class UtteranceDropped:
    """It was no utterance after all."""


Heard = (
    UtteranceBegan | UtterancePaused | UtteranceResumed | UtteranceFinished | UtteranceDropped | BargeInEvent
)


class EchoCancelling(Protocol):
    """Takes out what the loudspeaker plays."""

    def near(self, window: Window) -> Window:
        """What the microphone heard without it."""


class Listener:
    """Listens to one microphone, window after window. Not safe to share between threads.

    Moments are seconds by the clock `now`, `lag_s` before the window came: what a microphone and an echo
    canceller take. That a window is heard late by a busy event loop does not move them.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float],
        *,
        echo: EchoCancelling | None = None,
        lag_s: float = 0.0,
    ) -> None:
        self._settings = settings
        self._now = now
        self._echo = echo
        self._lag_s = lag_s
        self._voice_activity = VoiceActivity()
        self._endpointer = Endpointer(settings)
        self._recent = RecentAudio(settings.pre_roll_s + _FIRST_SOUNDS_S, ASR_SAMPLE_RATE_HZ)
        self._clock = SampleClock()
        self._encoder: UtteranceEncoder | None = None
        self._start_sample = 0
        self._barge_in: BargeIn | None = None
        self.level = 0.0
        """Of the last window, from 0 to 1."""

    @property
    def is_hearing(self) -> bool:
        """Whether an utterance is under way."""
        return self._encoder is not None

    def reply_begins(self) -> None:
        """From now on speech may be an interruption."""
        self._barge_in = BargeIn(self._settings)

    def reply_ended(self) -> None:
        """Nothing is left to be interrupted."""
        self._barge_in = None

    def hear(self, window: Window) -> list[Heard]:
        """What follows from the next window; mostly nothing."""
        self._clock.taken(self._recent.position + window.size, self._now())
        if self._echo:
            window = self._echo.near(window)
        self.level = float(np.abs(window).max())
        self._recent.append(window)
        if self._encoder:
            self._encoder.write(window)
        probability = self._voice_activity.probability(window)
        heard: list[Heard] = [self._heard(event) for event in self._endpointer.hear(probability)]
        if self._barge_in and (barged := self._barge_in.hear(probability)):
            heard.append(self._barged(barged))
        return heard

    def close(self) -> None:
        """Give up the utterance that is under way, if one is."""
        if self._encoder:
            self._encoder.close()
            self._encoder = None

    def _heard(self, event: EndpointingEvent) -> Heard:
        match event:
            case SpeechStarted(start_sample):
                self._start_sample = start_sample
                self._encoder = UtteranceEncoder(self._settings.mp3_bitrate_kbps)
                self._encoder.write(self._recent.since(start_sample))
                return UtteranceBegan(self._moment(start_sample))
            case SpeechDropped():
                self.close()
                return UtteranceDropped()
            case SpeechResumed():
                return UtteranceResumed()
            case PauseReached(end_sample, speech_end_sample):
                assert self._encoder
                audio = self._encoder.so_far(end_sample - self._start_sample)
                return UtterancePaused(audio, self._moment(speech_end_sample))
            case UtteranceEnded(start_sample, end_sample, speech_end_sample):
                assert self._encoder
                encoder, self._encoder = self._encoder, None
                audio = encoder.finished(end_sample - start_sample)
                return UtteranceFinished(audio, self._moment(speech_end_sample))

    def _barged(self, event: BargeInEvent) -> BargeInEvent:
        if event is BargeInEvent.RESUME:  # a cough or an "mm-hm" is not answered
            self._endpointer.forget()
            self.close()
        if event is BargeInEvent.INTERRUPT:
            self._barge_in = None
        return event

    def _moment(self, sample: int) -> float:
        return self._clock.moment(sample) - self._lag_s
