"""Voice activity detection in one conversation: does a frame contain speech?"""

from typing import Protocol

from conversation.audio import Frame
from shared.audio.vad import VoiceActivityDetector


class Vad(Protocol):
    """Follows the frames of one microphone."""

    async def probabilities(self, *frames: Frame) -> list[float]:
        """The probability of each of the next frames, 0 to 1, that it contains speech; to be awaited before
        more are given."""


class OwnVad:
    """A detector for one conversation, which takes 2 ms of its thread for a frame."""

    def __init__(self) -> None:
        self._detector = VoiceActivityDetector()

    def detect(self, frame: Frame) -> float:
        """The probability, 0 to 1, that the next frame contains speech."""
        if frame.lost_samples:
            self._detector.reset()
        return self._detector.probability(frame.samples)

    async def probabilities(self, *frames: Frame) -> list[float]:
        """The same of each; nothing is waited for."""
        return [self.detect(frame) for frame in frames]
