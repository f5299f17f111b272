"""Whether somebody who makes a sound during a reply means to interrupt it."""

from enum import Enum, auto

from conversation.endpointing import SILENCE_PROBABILITY, SPEECH_PROBABILITY
from services.host.vad_gate import WINDOW_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.settings import Settings

MAX_DIP_S = 0.2
"""So long may speech fall silent and still be the same: between words, or in a consonant."""


class BargeInEvent(Enum):
    """What the reply is to do."""

    PAUSE = auto()
    """Somebody may be speaking: fall silent, at once."""
    RESUME = auto()
    """It was a cough or an "mm-hm": go on where the reply was paused."""
    INTERRUPT = auto()
    """They speak: the turn is over. Nothing comes after this."""


class BargeIn:
    """Turns probabilities of speech, while one reply is played, into what the reply is to do.

    PAUSE and RESUME by turns, and after a PAUSE at last perhaps INTERRUPT: when `barge_in_after_s` of
    speech have been heard in which no dip was longer than MAX_DIP_S. Dips do not count as speech.
    Durations are rounded to windows of 32 ms.
    """

    def __init__(self, settings: Settings) -> None:
        self._interrupt_after = _windows(settings.barge_in_after_s)
        self._spoken = 0  # windows of speech since PAUSE
        self._silent = 0  # windows since the last of them
        self._interrupted = False

    def hear(self, probability: float) -> BargeInEvent | None:
        """What follows from the next window of 512 samples."""
        if self._interrupted:
            return None
        goes_on = self._spoken and not self._silent
        if probability < (SILENCE_PROBABILITY if goes_on else SPEECH_PROBABILITY):
            return self._silence()
        return self._speech()

    def _speech(self) -> BargeInEvent | None:
        self._spoken += 1
        self._silent = 0
        if self._spoken >= self._interrupt_after:
            self._interrupted = True
            return BargeInEvent.INTERRUPT
        return BargeInEvent.PAUSE if self._spoken == 1 else None

    def _silence(self) -> BargeInEvent | None:
        if not self._spoken:
            return None
        self._silent += 1
        if self._silent <= _windows(MAX_DIP_S):
            return None
        self._spoken = self._silent = 0
        return BargeInEvent.RESUME


def _windows(duration_s: float) -> int:
    return round(duration_s * ASR_SAMPLE_RATE_HZ / WINDOW_SAMPLES)
