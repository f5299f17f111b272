"""What a client's audio says: utterances with their questions, found in threads; or a buffer to commit."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from conversation.audio import Frame, Samples
from conversation.endpointing import PauseReached, SpeechResumed, SpeechStarted, UtteranceEnded
from conversation.listener import Listener
from conversation.turn_detection import HEARD_S
from conversation.vad import Vad
from gateway.realtime.audio import AudioFormat, Frames, InputAudio, from_base64
from gateway.realtime.events import ProtocolError
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Mp3Audio
from shared.settings import Settings

MAX_APPEND_CHARACTERS = 20 * 2**20
"""15 MiB in base64, the most that the protocol allows."""
FRAMES_AT_ONCE = 64
"""So many frames, two seconds of audio, are taken together: other sessions want their turn."""

BRIEF_CHARACTERS = 8_000
"""So little base64, 0.1 s of pcm, is decoded where it comes: in 0.1 ms, no more than a thread's hand-over and
back costs. So is silence listened to; speech is encoded."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Somebody speaks, and it is long enough for speech; the utterance began then."""

    start_ms: int
    began_s: float


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The speaker may have finished: the question so far, and what a turn model wants to know."""

    question: Mp3Audio
    said: Samples
    speech_end_s: float


@dataclass(frozen=True, slots=True)
class SpeechContinued:
    """The speaker goes on."""


@dataclass(frozen=True, slots=True)
class SpeechFinished:
    """The utterance is over; the person stopped at `end_ms`. `full`: since it is as long as it may be."""

    question: Mp3Audio
    end_ms: int
    speech_end_s: float
    full: bool


Heard = SpeechBegan | SpeechPaused | SpeechContinued | SpeechFinished


class Hearing:
    """One session's audio, from the client's events on.

    With settings of turn taking it finds utterances; without (None), or beside that, audio is collected until
    `commit`. Moments are seconds by the clock `now`; positions count from the session's first sample.
    """

    def __init__(
        self,
        settings: Settings | None,
        new_vad: Callable[[], Vad],
        max_buffered_s: float,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._new_vad = new_vad
        self._vad = new_vad()
        self._input = InputAudio(AudioFormat.PCM)
        self._frames = Frames()
        self._lock = Lock()
        self._max_buffered = round(max_buffered_s * ASR_SAMPLE_RATE_HZ)
        self._buffer: list[Samples] = []  # of a client that commits
        self._buffered = 0
        self._position = 0  # samples in all
        self._settings = settings
        self._listener = Listener(settings, now) if settings else None
        self._listener_began = 0
        self._start_sample = 0
        self._announced = False
        self._silence_s: float | None = None

    def configure(self, audio_format: AudioFormat, settings: Settings | None) -> None:
        """From now on audio comes in this format, and turns are taken like this."""
        if audio_format is not self._input.audio_format:
            self._input = InputAudio(audio_format)
        if settings != self._settings:
            self.clear()
            self._settings = settings
            self._listener = Listener(settings, self._now) if settings else None
            self._listener_began = self._position
            self._vad = self._new_vad()
            self._frames = Frames()

    def end_after(self, silence_s: float) -> None:
        """End the utterance after this much silence, if it is in a pause: of this pause alone."""
        self._silence_s = silence_s

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, as far as the client has been told."""
        return self._announced

    @property
    def position_ms(self) -> int:
        """How much audio has come."""
        return _ms(self._position)

    async def append(self, audio: str) -> AsyncGenerator[Heard, None]:
        """Take the next audio, in base64; what is heard in it. Raises ProtocolError."""
        if len(audio) > MAX_APPEND_CHARACTERS:
            raise ProtocolError(
                "More than 15 MiB of audio: send less at once.", "audio_too_large", param="audio"
            )
        brief = len(audio) <= BRIEF_CHARACTERS
        frames = self._decoded(audio) if brief else await asyncio.to_thread(self._decoded, audio)
        while frames:
            some = [frames.popleft() for _ in range(min(FRAMES_AT_ONCE, len(frames)))]
            pending = deque([(frame, await self._vad.probability(frame)) for frame in some])
            while pending:
                silent = brief and not (self._listener and self._listener.in_utterance)
                heard = self._listen(pending) if silent else await asyncio.to_thread(self._listen, pending)
                for one in heard:
                    yield one

    def commit(self) -> Pcm | None:
        """What has been collected, or said so far, since the last commit; None if that is nothing."""
        with self._lock:
            if self._listener:
                if not self._listener.in_utterance:
                    return None
                samples = self._listener.said(self._max_buffered / ASR_SAMPLE_RATE_HZ)
            else:
                samples = np.concatenate([*self._buffer, np.empty(0, np.float32)])
        self.clear()
        return Pcm(samples, ASR_SAMPLE_RATE_HZ) if samples.size else None

    def clear(self) -> None:
        """Forget what has not been committed."""
        with self._lock:
            self._buffer.clear()
            self._buffered = 0
            self._announced = False
            if self._listener:
                self._listener.forget()

    def _decoded(self, audio: str) -> deque[Frame]:
        samples = self._input.samples(from_base64(audio))
        if self._listener:
            return deque(map(Frame, self._frames.frames(samples)))
        if self._buffered + samples.size > self._max_buffered:
            limit_s = self._max_buffered / ASR_SAMPLE_RATE_HZ
            raise ProtocolError(f"More than {limit_s:g} s of audio: commit it first.", "input_audio_too_long")
        self._position += samples.size
        self._buffered += samples.size
        self._buffer.append(samples)
        return deque()

    def _listen(self, pending: deque[tuple[Frame, float]]) -> list[Heard]:
        """Take frames until something is heard in one."""
        with self._lock:
            while pending and self._listener:
                if heard := self._heard(self._listener, *pending.popleft()):
                    return heard
        return []

    def _heard(self, listener: Listener, frame: Frame, probability: float) -> list[Heard]:
        if self._silence_s is not None:
            listener.end_after(self._silence_s)
            self._silence_s = None
        heard: list[Heard] = []
        self._position += frame.samples.size
        for event in listener.process(frame, probability):
            match event:
                case SpeechStarted(start_sample):
                    self._start_sample = start_sample
                case SpeechResumed():
                    heard.append(SpeechContinued())
                case PauseReached():
                    heard += self._announcement(listener)
                    end_s = listener.moment(event.speech_end_sample)
                    heard.append(SpeechPaused(listener.question(event), listener.said(HEARD_S), end_s))
                case UtteranceEnded():
                    heard += self._announcement(listener)
                    heard.append(self._finished(listener, event))
        if listener.certain:
            heard += self._announcement(listener)
        return heard

    def _announcement(self, listener: Listener) -> list[Heard]:
        if self._announced:
            return []
        self._announced = True
        start_ms = _ms(self._listener_began + self._start_sample)
        return [SpeechBegan(start_ms, listener.moment(self._start_sample))]

    def _finished(self, listener: Listener, event: UtteranceEnded) -> SpeechFinished:
        self._announced = False
        question = listener.question(event)
        end_s = listener.moment(event.speech_end_sample)
        listener.turn_ended()
        end_ms = _ms(self._listener_began + event.speech_end_sample)
        return SpeechFinished(question, end_ms, end_s, event.full)


def _ms(samples: int) -> int:
    return samples * 1000 // ASR_SAMPLE_RATE_HZ
