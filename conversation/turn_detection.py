"""How long a silence must be to end a turn: always the same, or by what a model makes of what was said."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, Protocol

from conversation.audio import Samples
from conversation.tasks import Tasks
from shared.settings import Settings

logger = logging.getLogger(__name__)

SURE = 0.95
"""From this probability on the silence is the shortest."""

HEARD_S = 8
"""A model is asked about so much of an utterance, the newest: Smart Turn takes no more."""

EndedBy = Literal["silence", "model", "fallback"]
"""What set the silence that ended a turn: the fixed rule; the model; or the fixed rule, since the model's
answer did not come in time, or not at all."""


class TurnModel(Protocol):
    """Judges whether a speaker has finished."""

    async def probability(self, samples: Samples) -> float:
        """The probability, 0 to 1, that whoever said this (16 kHz) has finished. May be cancelled."""


def silence_s(probability: float, settings: Settings) -> float:
    """How long the silence must be, where this is the probability that the speaker has finished.

    Chosen by `bench.turn_detection` from 160 curves, as the one that waits least at the ends of sentences: it
    cuts 11 of 84 pauses within sentences, as many as a fixed silence of 0.8 s (12), and waits 0.35 s in the
    median and 0.67 s on average. None cut as few as the fixed 1.0 s (7) and waited less than 0.84 s in the
    median. Raises ValueError if it is no probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{probability} is no probability")
    doubt = max(0.0, 1.0 - probability / SURE)
    shortest_s = settings.min_end_of_turn_silence_s
    return shortest_s + doubt**2 * max(0.0, settings.max_end_of_turn_silence_s - shortest_s)


class TurnDetection:
    """Asks the model in each pause, once; without a model the silence stays as it is.

    Args:
        end_after: called in the pause, with the silence in seconds that is to end the turn. Until then, and
            if the answer is late or broken, S2S_END_OF_TURN_SILENCE_S holds.
    """

    def __init__(
        self,
        model: TurnModel | None,
        settings: Settings,
        tasks: Tasks,
        end_after: Callable[[float], None],
    ) -> None:
        self._model = model
        self._settings = settings
        self._tasks = tasks
        self._end_after = end_after
        self._asking: asyncio.Task[None] | None = None
        self._warned = False
        self.ended_by: EndedBy = "silence"
        """What sets the silence of the newest pause, so far."""

    @property
    def shortest_silence_s(self) -> float:
        """No turn ends after less."""
        if self._model:
            return self._settings.min_end_of_turn_silence_s
        return self._settings.end_of_turn_silence_s

    def pause(self, said: Samples) -> None:
        """The speaker may have finished, having said this (16 kHz, up to now)."""
        self.leave_pause()
        if self._model:
            self.ended_by = "fallback"
            self._asking = self._tasks.start(self._ask(self._model, said))

    def leave_pause(self) -> None:
        """The speaker goes on, or the turn is over: an answer that comes now is late."""
        self.ended_by = "silence"
        if self._asking:
            self._asking.cancel()
            self._asking = None

    async def _ask(self, model: TurnModel, said: Samples) -> None:
        try:
            self._end_after(silence_s(await model.probability(said), self._settings))
        except Exception as error:
            if not self._warned:
                logger.warning("Turn detection gives no answer, so the silence is fixed: %r", error)
            self._warned = True
        else:
            self.ended_by = "model"
