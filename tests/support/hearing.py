"""A listener together with the detector that a conversation has beside it."""

from collections.abc import Callable

from conversation.audio import Frame
from conversation.listener import Listener, ListeningEvent
from conversation.vad import OwnVad
from shared.settings import Settings


class Hearing(Listener):
    """Takes frames alone."""

    def __init__(self, settings: Settings, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(settings, now)
        self._vad = OwnVad()

    def hear(self, frame: Frame) -> list[ListeningEvent]:
        return self.process(frame, self._vad.detect(frame))
