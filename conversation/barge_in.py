"""Whether a sound during a reply is an interruption or only a cough, a "mm-hm" or the like."""

from enum import Enum, auto

from conversation.endpointing import HYSTERESIS, frames
from shared.settings import Settings

MAX_DIP_S = 0.2
"""Speech may fall silent this long and still be the same: between words, or in a consonant."""


class BargeInEvent(Enum):
    """What is to happen to the reply."""

    PAUSE = auto()
    """Somebody may be speaking: pause at once."""
    RESUME = auto()
    """It was no word, or a back-channel: continue where the reply was paused."""
    SHORT_SOUND = auto()
    """It is over and may have been a word: RESUME or INTERRUPT, by what was said."""
    INTERRUPT = auto()
    """They speak: the turn is over. No event follows this one."""


class BargeIn:
    """Turns probabilities of speech, while one reply is played, into what is to happen to the reply.

    PAUSE and its end alternately: RESUME after less than `min_speech_s` of speech, else SHORT_SOUND, or
    INTERRUPT when `barge_in_after_s` have come, all without a dip longer than MAX_DIP_S. Dips do not count as
    speech. Durations are rounded to frames.
    """

    def __init__(self, settings: Settings) -> None:
        self._threshold = settings.vad_threshold
        self._interrupt_after = frames(settings.barge_in_after_s)
        self._min_speech = frames(settings.min_speech_s)
        self._spoken = 0  # frames of speech since PAUSE
        self._silent = 0  # frames since the last of them
        self._undecided = 0  # frames of speech of a SHORT_SOUND that is not decided
        self._interrupted = False

    def resumed(self) -> None:
        """A SHORT_SOUND is decided: the reply goes on."""
        self._undecided = 0

    def process(self, probability: float) -> BargeInEvent | None:
        """What follows from the next frame."""
        if self._interrupted:
            return None
        continues = self._spoken and not self._silent
        if probability < self._threshold + (0.0 if continues else HYSTERESIS):
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
        if self._silent <= frames(MAX_DIP_S):
            return None
        self._undecided += self._spoken
        self._spoken = self._silent = 0
        if self._undecided >= self._min_speech:
            return BargeInEvent.SHORT_SOUND
        self._undecided = 0
        return BargeInEvent.RESUME
