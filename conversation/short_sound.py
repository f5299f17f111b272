"""What a short sound over a reply means: it is transcribed, and a word of a short list is an interruption."""

import asyncio
import logging
import re
from contextlib import aclosing

from conversation.audio import Samples
from conversation.reply import TurnSource
from conversation.tasks import Tasks
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import SpeechError
from shared.settings import Settings
from shared.turn import TranscriptReady, TurnRequest

logger = logging.getLogger(__name__)

TIME_LIMIT_S = 1.0
"""The reply goes on if there is no transcript by then."""


class ShortSounds:
    """Has the short sounds over one conversation's replies transcribed, one at a time."""

    def __init__(
        self,
        turns: TurnSource,
        settings: Settings,
        tasks: Tasks,
        *,
        session_id: str,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._turns = turns
        self._words = words_of(settings.interrupting_words)
        self._tasks = tasks
        self._session_id = session_id
        self._time_limit_s = time_limit_s
        self._deciding: asyncio.Task[bool] | None = None

    def decide(self, sound: Samples) -> None:
        """Find out whether this sound, at 16 kHz, is an interruption."""
        self.cancel()
        self._deciding = self._tasks.start(self._is_interruption(sound))

    def cancel(self) -> None:
        """It does not matter any more."""
        if self._deciding:
            self._deciding.cancel()
            self._deciding = None

    def decision(self) -> bool | None:
        """Whether it is an interruption, once it is decided; None before, and afterwards.

        Raises an unexpected error of the turn.
        """
        if not self._deciding or not self._deciding.done():
            return None
        decided, self._deciding = self._deciding, None
        return decided.result()

    async def _is_interruption(self, sound: Samples) -> bool:
        if not self._words:
            return False
        try:
            async with asyncio.timeout(self._time_limit_s):
                return bool(self._words & words_of(await self._transcript(sound)))
        except (TimeoutError, SpeechError) as error:
            logger.info("A short sound was not transcribed: %r", error)
            return False

    async def _transcript(self, sound: Samples) -> str:
        request = TurnRequest(
            audio=Pcm(sound, ASR_SAMPLE_RATE_HZ), transcribe_only=True, session_id=self._session_id
        )
        transcript = ""
        async with aclosing(self._turns(request)) as events:
            async for event in events:
                if isinstance(event, TranscriptReady):
                    transcript = event.text
        return transcript


def words_of(text: str) -> set[str]:
    """Its words, in lower case and without punctuation."""
    return set(re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower()))
