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
FRAMES_AT_ONCE = 8
"""At most so many frames are listened to together, in 1 to 2 ms which other sessions wait; and encoded."""

BRIEF_CHARACTERS = 8_000
"""So little base64, 0.1 s of pcm, is decoded where it comes: in 0.1 ms, no more than a thread's hand-over and
back costs."""


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
        self._unencoded = 0  # frames, at most

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
        if self._listener:
            self._listener.end_after(silence_s)

    @property
    def in_utterance(self) -> bool:
        """Whether somebody is speaking, as far as the client has been told."""
        return self._announced

    @property
    def position_ms(self) -> int:
        """How much audio has come."""
        return _ms(self._position) + round(self._input.gate.held_s * 1000)

    async def append(self, audio: str, *, at_once: bool) -> AsyncGenerator[Heard, None]:
        """Take the next audio, in base64; what is heard in it, and in what the noise gate held back before.
        The gate is open `at_once`, and during an utterance. Raises ProtocolError."""
        if len(audio) > MAX_APPEND_CHARACTERS:
            raise ProtocolError(
                "More than 15 MiB of audio: send less at once.", "audio_too_large", param="audio"
            )
        at_once = at_once or self._listener is None or self._listener.in_utterance
        if len(audio) <= BRIEF_CHARACTERS:
            frames, may_be_speech = self._decoded(audio, at_once)
        else:
            frames, may_be_speech = await asyncio.to_thread(self._decoded, audio, at_once)
        while self._listener and frames:
            some = [frames.popleft() for _ in range(min(FRAMES_AT_ONCE, len(frames)))]
            probabilities = await self._vad.probabilities(*some) if may_be_speech else [0.0] * len(some)
            for frame, probability in zip(some, probabilities, strict=True):
                async for heard in self._listened(self._listener, frame, probability):
                    yield heard
            self._unencoded += len(some)
            if self._listener.in_utterance and self._unencoded >= FRAMES_AT_ONCE:
                self._unencoded = 0
                await asyncio.to_thread(self._encode, self._listener)

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

    def _decoded(self, audio: str, at_once: bool) -> tuple[deque[Frame], bool]:
        """The next frames, and whether they may be speech."""
        samples, may_be_speech = self._input.samples(from_base64(audio), opened=at_once)
        if not samples.size:
            return deque(), False
        if self._listener:
            return deque(map(Frame, self._frames.frames(samples))), may_be_speech
        if self._buffered + samples.size > self._max_buffered:
            limit_s = self._max_buffered / ASR_SAMPLE_RATE_HZ
            raise ProtocolError(f"More than {limit_s:g} s of audio: commit it first.", "input_audio_too_long")
        self._position += samples.size
        self._buffered += samples.size
        self._buffer.append(samples)
        return deque(), False

    async def _listened(
        self, listener: Listener, frame: Frame, probability: float
    ) -> AsyncGenerator[Heard, None]:
        self._position += frame.samples.size
        for event in listener.process(frame, probability):
            match event:
                case SpeechStarted(start_sample):
                    self._start_sample = start_sample
                case SpeechResumed():
                    yield SpeechContinued()
                case PauseReached() | UtteranceEnded():
                    if not self._announced:
                        yield self._announcement(listener)
                    question = await asyncio.to_thread(self._question, listener, event)
                    yield self._ended(listener, event, question)
        if listener.certain and not self._announced:
            yield self._announcement(listener)

    def _announcement(self, listener: Listener) -> SpeechBegan:
        self._announced = True
        start_ms = _ms(self._listener_began + self._start_sample)
        return SpeechBegan(start_ms, listener.moment(self._start_sample))

    def _ended(
        self, listener: Listener, event: PauseReached | UtteranceEnded, question: Mp3Audio
    ) -> SpeechPaused | SpeechFinished:
        end_s = listener.moment(event.speech_end_sample)
        if isinstance(event, PauseReached):
            return SpeechPaused(question, listener.said(HEARD_S), end_s)
        self._announced = False
        listener.turn_ended()
        end_ms = _ms(self._listener_began + event.speech_end_sample)
        return SpeechFinished(question, end_ms, end_s, event.full)

    def _encode(self, listener: Listener) -> None:
        with self._lock:
            listener.encode()

    def _question(self, listener: Listener, event: PauseReached | UtteranceEnded) -> Mp3Audio:
        with self._lock:
            return listener.question(event)


def _ms(samples: int) -> int:
    return samples * 1000 // ASR_SAMPLE_RATE_HZ
