"""A TTS engine behind its stage stream."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing

from services.host.stage_host import StageHost, Stopwatch
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.engines import TTSModel
from shared.errors import Stage
from shared.stage_stream import AudioSegment, StageFinished, StageItem, StageStream


class TTSHost(StageHost[TTSModel]):
    """Text to speech."""

    stage = Stage.TTS

    async def synthesize(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> StageStream:
        """See `Stages`."""
        started, tag = await self._start(), self._language(language)
        if voice is not None:
            self._refuse_unless_offered("voice", voice, self.engine.voices)
        attempt_id = started.attempt_id

        def work(cancelled: threading.Event) -> Generator[StageItem, None, None]:
            yield started
            watch = Stopwatch()
            for pcm in self.engine.synthesize(text, cancelled, voice=voice, language=tag):
                yield AudioSegment(attempt_id=attempt_id, audio=pcm, elapsed_us=watch.us)
            yield StageFinished(attempt_id=attempt_id, elapsed_us=watch.us, busy_us=watch.us)

        async with aclosing(self._worker.stream(work)) as items:
            with self._speech_errors():
                async for item in items:
                    yield item

    async def synthesize_mp3(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> StageStream:
        """The same as MP3, for a caller in another process. A segment is encoded while the engine makes the
        next one."""
        elapsed_us = 0
        async with aclosing(self.synthesize(text, voice=voice, language=language)) as items:
            async for item in items:
                if not isinstance(item, AudioSegment):
                    yield item
                    continue
                watch = Stopwatch()
                bitrate_kbps = self._settings.mp3_bitrate_kbps
                mp3 = await asyncio.to_thread(encode_mp3, to_pcm(item.audio), bitrate_kbps)
                # The engine's next segment may have been ready before this one was encoded.
                elapsed_us = max(elapsed_us, item.elapsed_us) + watch.us
                yield item.model_copy(update={"audio": mp3, "elapsed_us": elapsed_us})
