"""An ASR engine behind its stage stream."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.host.batch_queue import BatchQueue
from services.host.stage_host import StageHost, Stopwatch
from services.host.vad_gate import VadGate
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, capacity
from shared.errors import Stage
from shared.payloads import Speech
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStream, Transcript


@dataclass(frozen=True)
class _Utterance:
    pcm: Pcm
    language: str | None


@dataclass(frozen=True)
class _Transcribed:
    text: str
    took_us: int
    batch_size: int


class ASRHost(StageHost[ASRModel]):
    """Speech to text, behind the VAD gate: an engine that is given silence answers with words.

    Audio is decoded and gated on other threads than the engine's. Calls that wait together are given to the
    engine together, as many as it works on at once.
    """

    stage = Stage.ASR

    def __init__(
        self, engine: ASRModel, settings: Settings, *, on_stuck: Callable[[], None] | None = None
    ) -> None:
        super().__init__(engine, settings, on_stuck=on_stuck)
        self._gates = threading.local()  # a gate holds its detector's state
        self._queue = BatchQueue[_Utterance, _Transcribed](
            self._worker, self._transcribe, capacity(self.stage, engine.spec, settings)
        )

    async def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """See `Stages`. It starts when the engine does: a queue is a wait for the start."""
        started, tag = await self._start(), self._language(language)
        watch, transcribed = Stopwatch(), _Transcribed("", 0, 1)
        with self._speech_errors():
            pcm = await asyncio.to_thread(self._speech_in, audio)
            gate_us = watch.us
            if pcm is None:
                yield started
            else:
                ticket = self._queue.put(_Utterance(pcm, tag))
                try:
                    await ticket.begun
                    yield started
                    transcribed = await ticket.result
                finally:
                    ticket.result.cancel()
        attempt_id, took_us = started.attempt_id, transcribed.took_us
        yield Transcript(attempt_id=attempt_id, text=transcribed.text, elapsed_us=took_us)
        busy_us = gate_us + took_us // transcribed.batch_size
        yield StageFinished(attempt_id=attempt_id, elapsed_us=took_us, busy_us=busy_us)

    async def close(self) -> None:
        """End the engine and its thread, also in the middle of work; what waits fails."""
        await super().close()
        await self._queue.join()

    def _speech_in(self, audio: Speech) -> Pcm | None:
        """The audio as the engine gets it; None if nobody speaks in it. For any thread."""
        pcm = resample(to_pcm(audio, self._settings.max_audio_s), ASR_SAMPLE_RATE_HZ)
        if not hasattr(self._gates, "gate"):
            self._gates.gate = VadGate()
        return pcm if self._gates.gate.has_speech(pcm) else None

    def _transcribe(self, batch: Sequence[_Utterance]) -> list[_Transcribed | Exception]:
        watch = Stopwatch()
        texts: dict[int, str | Exception] = {}
        for language in dict.fromkeys(one.language for one in batch):
            alike = {index: one.pcm for index, one in enumerate(batch) if one.language == language}
            texts |= zip(alike, self._texts(list(alike.values()), language), strict=True)
        took_us = watch.us
        outcomes = [texts[index] for index in range(len(batch))]
        return [
            one if isinstance(one, Exception) else _Transcribed(one.strip(), took_us, len(batch))
            for one in outcomes
        ]

    def _texts(self, utterances: Sequence[Pcm], language: str | None) -> Sequence[str | Exception]:
        """The transcript of each. One that breaks the engine does not take its neighbours with it."""
        try:
            texts = self.engine.transcribe_batch(utterances, language=language)
            if len(texts) != len(utterances):
                raise ValueError(f"{len(texts)} transcripts of {len(utterances)} utterances")
        except Exception as error:
            if len(utterances) == 1:
                return [error]
            return [self._texts([utterance], language)[0] for utterance in utterances]
        return texts
