"""The audio around a conversation: frames come in, segments of replies go out to a player."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.audio.pcm import Pcm

Samples = NDArray[np.float32]
"""Mono audio: 1-D float32, as a rule within ±1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The next 32 ms of a microphone: FRAME_SAMPLES samples at 16 kHz."""

    samples: Samples
    lost_samples: int = 0
    """How much was lost between the frame before and this one (overflow, packet loss), at 16 kHz."""


@dataclass(frozen=True, slots=True)
class SegmentPlayed:
    """How much of one audio segment has been played, in samples of the player's rate."""

    num_samples: int
    played_samples: int


class Player(Protocol):
    """Plays one reply at a time, segment after segment. Every call returns at once.

    A player that cannot play any more raises SpeechError, which ends the conversation.
    """

    sample_rate_hz: int

    def play(self, pcm: Pcm) -> None:
        """Append a segment to the reply; the first one begins a reply."""

    def end_reply(self) -> None:
        """Nothing more belongs to the reply."""

    def pause(self) -> None:
        """Fall silent; what comes meanwhile waits too."""

    def resume(self) -> None:
        """Continue where playback was paused."""

    def clear(self) -> tuple[SegmentPlayed, ...]:
        """Drop the reply; the next one is not paused. Returns how much of each segment was played."""

    @property
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply became audible; None until then and after `clear`."""

    @property
    def done(self) -> bool:
        """Whether the ended reply has been played to completion."""

    @property
    def underruns(self) -> int:
        """How often playback ran dry within a reply, since the player was opened."""
