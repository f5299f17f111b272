"""From the microphone's frames to what a person says: utterances, and sounds made during a reply."""

from collections import deque
from collections.abc import Callable

import numpy as np

from conversation.audio import Frame, Samples
from conversation.barge_in import BargeIn, BargeInEvent
from conversation.endpointing import (
    Endpointer,
    EndpointingEvent,
    PauseReached,
    SpeechDropped,
    SpeechStarted,
    UtteranceEnded,
    frames,
)
from conversation.utterance import UtteranceEncoder
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import Mp3Audio
from shared.settings import Settings

ListeningEvent = EndpointingEvent | BargeInEvent

DETECTION_S = 0.5
"""More than the detector needs to find speech, which is when the pre-roll is looked up."""
CLOCK_MEMORY_S = 5.0
"""A device's clock that is off by 100 ppm drifts by 0.5 ms in this time."""
MIN_EXTENSION_S = 2.0
"""A question with less room left than this is not extended: the next utterance is a question of its own."""
_MAX_GAPS = 32


class Listener:
    """Processes one microphone, frame by frame. Not safe to share between threads.

    A question is one utterance, or several: until `reply_audible` or `turn_ended`, what is said after the end
    of an utterance extends the question.

    Moments are seconds by the clock `now`, minus `lag_s`: how long audio takes from the microphone to here.
    """

    def __init__(self, settings: Settings, now: Callable[[], float], *, lag_s: float = 0.0) -> None:
        self._settings = settings
        self._now = now
        self._endpointer = Endpointer(settings)
        self._barge_in: BargeIn | None = None
        self._encoder: UtteranceEncoder | None = None  # of the question
        self._start_sample = 0  # of the utterance, and where it is in the encoder:
        self._start_in_question = 0
        self._written_to = 0
        self._recent: deque[Samples] = deque(maxlen=frames(settings.pre_roll_s + DETECTION_S) + 1)
        self._position = 0
        self._clock = _SampleClock(lag_s)
        self.in_utterance = False
        """Whether somebody is speaking, or pauses within an utterance."""
        self.extends = False
        """Whether the newest utterance extends the question before it."""
        self.level = 0.0
        """Peak of the newest frame, from 0 to 1."""

    def process(self, frame: Frame, probability: float) -> list[ListeningEvent]:
        """The events, mostly none, of the next frame, which contains speech with this probability."""
        if frame.lost_samples:
            self._clock.lost(self._position, frame.lost_samples)
        self._position += frame.samples.size
        self._clock.received(self._position, self._now())
        self.level = float(np.abs(frame.samples).max())
        self._recent.append(frame.samples)
        if self._encoder and self.in_utterance:
            self._encoder.write(frame.samples)
        # While a reply is audible, BargeIn decides what a sound is, however short the end-of-turn silence.
        events: list[ListeningEvent] = [*self._endpointer.process(probability, may_end=not self._barge_in)]
        for event in events:
            self._follow(event)
        if self._barge_in and (barged := self._barge_in.process(probability)):
            events.append(barged)
            self._follow(barged)
        return events

    def encode(self) -> None:
        """Encode the question as far as it has been said, so that little is left when it is wanted."""
        if self._encoder:
            self._encoder.encode()

    def moment(self, sample: int) -> float:
        """When a recent sample was spoken, by the clock `now`."""
        return self._clock.moment(sample)

    def question(self, event: PauseReached | UtteranceEnded) -> Mp3Audio:
        """The question up to this event, which is the newest."""
        assert self._encoder, "an utterance is under way"
        num_samples = self._start_in_question + event.end_sample - self._start_sample
        if isinstance(event, UtteranceEnded) and not self._can_be_extended:
            return self._encoder.finished(num_samples)
        return self._encoder.so_far(num_samples)

    def said(self, duration_s: float) -> Samples:
        """The newest audio of the question, up to now: at most this much of it, 16 kHz."""
        assert self._encoder, "an utterance is under way"
        return self._encoder.newest(round(duration_s * ASR_SAMPLE_RATE_HZ))

    def end_after(self, silence_s: float) -> None:
        """End the utterance after this much silence, if it is in a pause: of this pause alone."""
        self._endpointer.end_after(silence_s)

    def decide(self, event: BargeInEvent) -> None:
        """A short sound during the reply was this: RESUME or INTERRUPT."""
        assert self._barge_in, "a reply is audible"
        self._barge_in.resumed()
        self._follow(event)

    def reply_audible(self) -> None:
        """The reply has begun to play: from now on speech may be an interruption."""
        self._barge_in = BargeIn(self._settings)
        self._close_question()

    def turn_ended(self) -> None:
        """No reply is to come or can be interrupted any more."""
        self._barge_in = None
        if not self.in_utterance:
            self._close_question()

    @property
    def certain(self) -> bool:
        """Whether an utterance is under way that is too long to be dropped."""
        return self._endpointer.certain

    def forget(self) -> None:
        """Give up what is being said, without an event; what follows is not part of it."""
        self._endpointer.forget()
        self.close()

    def close(self) -> None:
        """Give up the utterance that is under way, if any."""
        self.in_utterance = False
        self._close_question()

    def _follow(self, event: ListeningEvent) -> None:
        match event:
            case SpeechStarted(start_sample):
                self._begin_utterance(start_sample)
            case SpeechDropped() | UtteranceEnded():
                self._end_utterance(dropped=isinstance(event, SpeechDropped))
            case BargeInEvent.RESUME:
                self.forget()
            case BargeInEvent.INTERRUPT:
                self._barge_in = None

    def _begin_utterance(self, start_sample: int) -> None:
        if not self._can_be_extended:
            self._close_question()
        self.extends = self._encoder is not None
        self._encoder = self._encoder or UtteranceEncoder(self._settings.mp3_bitrate_kbps)
        self._start_sample = max(start_sample, self._written_to) if self.extends else start_sample
        self._start_in_question = self._encoder.num_samples
        self._encoder.write(self._since(self._start_sample))
        self.in_utterance = True

    def _end_utterance(self, *, dropped: bool) -> None:
        self.in_utterance = False
        if dropped and not self.extends:
            self._close_question()
        elif self._encoder:
            self._written_to = self._position
            self._endpointer.question_has(self._encoder.num_samples)

    @property
    def _can_be_extended(self) -> bool:
        return self._endpointer.samples_left >= MIN_EXTENSION_S * ASR_SAMPLE_RATE_HZ

    def _close_question(self) -> None:
        self._endpointer.question_has(0)
        if self._encoder:
            self._encoder.close()
            self._encoder = None

    def _since(self, start_sample: int) -> Samples:
        first = self._position - len(self._recent) * FRAME_SAMPLES
        return np.concatenate([*self._recent, np.empty(0, np.float32)])[start_sample - first :]


class _SampleClock:
    """Maps positions in the microphone's samples to moments.

    Uses the minimum of arrival time minus position over the last CLOCK_MEMORY_S: a busy event loop can only
    delay a frame. Lost samples count, as they took their time.
    """

    def __init__(self, lag_s: float) -> None:
        self._lag_s = lag_s
        self._first_sample_s: deque[float] = deque(maxlen=frames(CLOCK_MEMORY_S))
        self._gaps: deque[tuple[int, int]] = deque([(0, 0)], maxlen=_MAX_GAPS)  # from where on: lost in all

    def lost(self, position: int, num_samples: int) -> None:
        """So many samples were lost behind this position."""
        self._gaps.append((position, self._gaps[-1][1] + num_samples))

    def received(self, position: int, at_s: float) -> None:
        """The sample at this position came now."""
        self._first_sample_s.append(at_s - self._recorded_s(position))

    def moment(self, sample: int) -> float:
        """When that sample was spoken. Raises ValueError before any has come."""
        return min(self._first_sample_s) + self._recorded_s(sample) - self._lag_s

    def _recorded_s(self, sample: int) -> float:
        lost = next((lost for at, lost in reversed(self._gaps) if at < sample), self._gaps[0][1])
        return (sample + lost) / ASR_SAMPLE_RATE_HZ
