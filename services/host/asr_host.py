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
from shared.payloads import Speech, Word
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStream, Transcript


@dataclass(frozen=True)
class _Utterance:
    pcm: Pcm
    language: str | None
    word_times: bool


@dataclass(frozen=True)
class _Transcribed:
    text: str = ""
    words: tuple[Word, ...] | None = None
    took_us: int = 0
    batch_size: int = 1


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

    async def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> StageStream:
        """See `Stages`. It starts when the engine does: a queue is a wait for the start."""
        started, tag = await self._start(), self._language(language)
        timed = word_times and self.engine.has_word_times
        watch, transcribed = Stopwatch(), _Transcribed(words=() if timed else None)
        with self._speech_errors():
            pcm = await asyncio.to_thread(self._speech_in, audio)
            gate_us = watch.us
            if pcm is None:
                yield started
            else:
                ticket = self._queue.put(_Utterance(pcm, tag, timed))
                try:
                    await ticket.begun
                    yield started
                    transcribed = await ticket.result
                finally:
                    ticket.result.cancel()
        attempt_id, took_us = started.attempt_id, transcribed.took_us
        text, words = transcribed.text, transcribed.words
        yield Transcript(attempt_id=attempt_id, text=text, words=words, elapsed_us=took_us)
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
        answers: dict[int, str | tuple[Word, ...] | Exception] = {
            index: self._words(one) for index, one in enumerate(batch) if one.word_times
        }
        for language in dict.fromkeys(one.language for one in batch if not one.word_times):
            alike = {
                index: one.pcm
                for index, one in enumerate(batch)
                if one.language == language and not one.word_times
            }
            answers |= zip(alike, self._texts(list(alike.values()), language), strict=True)
        took_us = watch.us
        return [_transcribed(answers[index], took_us, len(batch)) for index in range(len(batch))]

    def _words(self, utterance: _Utterance) -> tuple[Word, ...] | Exception:
        try:
            return tuple(self.engine.transcribe_words(utterance.pcm, language=utterance.language))
        except Exception as error:
            return error

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


def _transcribed(
    answer: str | tuple[Word, ...] | Exception, took_us: int, batch_size: int
) -> _Transcribed | Exception:
    if isinstance(answer, Exception):
        return answer
    words = None if isinstance(answer, str) else answer
    text = answer if isinstance(answer, str) else "".join(word.text for word in answer)
    return _Transcribed(text.strip(), words, took_us, batch_size)
