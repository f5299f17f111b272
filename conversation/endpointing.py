"""When an utterance begins, pauses and ends, from the probability of speech in one frame after the other.

No audio and no clock: positions are in samples of the microphone since it was opened.
"""

from dataclasses import dataclass
from enum import Enum, auto

from shared.audio.vad import FRAME_S, FRAME_SAMPLES
from shared.settings import Settings

HYSTERESIS = 0.1
"""A frame is speech from the threshold plus this on; below the threshold, speech has ended. Between the two,
the state stays as it is. With speech from 0.5 to 0.8 on, all of 100 utterances at their usual level were
found, in noise down to 5 dB SNR, and none in 140 s of office ambience and 40 s of noise at four levels; quiet
ones are missed more often the higher it is. With its end at Silero's own 0.35 the ends come 30 ms later in
the median; at 0.8 speech breaks off in its softer sounds."""
DETECTION_LAG_FRAMES = 3
"""The detector falls silent this much later than the person (116 ms in the median)."""
POST_ROLL_FRAMES = 3
"""How much is kept after the estimated end of speech, as the estimate may be early. Few enough that, when a
pause of 0.25 s is reached, an UtteranceEncoder has them ready."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody may be speaking. The utterance begins at `start_sample`, some time before the detection."""

    start_sample: int


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """It was too short for speech (a click, a cough): there is no utterance."""


@dataclass(frozen=True, slots=True)
class PauseReached:
    """The speaker has been silent for `speculation_after_s` and may have finished.

    If nothing more is said, the utterance will end with the same two samples.
    """

    end_sample: int
    speech_end_sample: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The speaker continues after a pause."""


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The utterance is the samples from `start_sample` to before `end_sample`.

    `speech_end_sample` is the best estimate of when the person stopped, and silence is counted from there.
    Against hand-marked ends of 198 utterances (ten recordings at levels of 0 and -20 dB; quiet, and white,
    pink and office noise at 20, 10 and 5 dB SNR) it is 12 ms late in the median, from 82 ms early to 108 ms
    late in nine of ten, and none was more than 0.16 s off. Of 80 at -10 and -15 dB one ended 0.7 s late,
    in office noise. `full`: it ended since it is as long as it may be, not in silence.
    """

    start_sample: int
    end_sample: int
    speech_end_sample: int
    full: bool = False


EndpointingEvent = SpeechStarted | SpeechDropped | PauseReached | SpeechResumed | UtteranceEnded


class _State(Enum):
    LISTENING = auto()
    SPEAKING = auto()
    PAUSED = auto()


class Endpointer:
    """Turns probabilities of speech into the events of utterances, in this order:

    SpeechStarted, then PauseReached and SpeechResumed alternately, any number of them, then UtteranceEnded;
    or SpeechStarted and SpeechDropped. An utterance that reaches `max_utterance_s` (or `max_audio_s`, if that
    is less) ends there, and further speech is the next. Durations are rounded to frames.
    """

    def __init__(self, settings: Settings) -> None:
        self._threshold = settings.vad_threshold
        self._usual_end_of_turn = frames(settings.end_of_turn_silence_s)
        self._end_of_turn = self._usual_end_of_turn  # in the pause that is under way
        self._pause = frames(settings.speculation_after_s)
        self._pre_roll = frames(settings.pre_roll_s)
        self._min_speech = frames(settings.min_speech_s)
        self._max_utterance = int(min(settings.max_utterance_s, settings.max_audio_s) / FRAME_S)
        self._said_before = 0  # frames of the same question before this utterance
        self._state = _State.LISTENING
        # Positions, in frames since the microphone was opened:
        self._position = 0
        self._free = 0  # what came before belongs to an utterance that has ended
        self._start = 0
        self._last_speech = -1
        self._spoken = 0  # how many frames of the utterance are speech

    def process(self, probability: float, *, may_end: bool = True) -> list[EndpointingEvent]:
        """The events, mostly none, of the next frame. Unless it `may_end`, no silence ends an utterance."""
        was_silent = self._last_speech < self._position
        self._position += 1
        if probability < self._threshold + (HYSTERESIS if was_silent else 0.0):
            return self._silence(may_end)
        return self._speech()

    def end_after(self, silence_s: float) -> None:
        """End the utterance after this much silence, if it is in a pause: of this pause alone."""
        if self._state is _State.PAUSED:
            self._end_of_turn = frames(silence_s)

    def question_has(self, num_samples: int) -> None:
        """The next utterance extends a question of this length, which counts towards its maximum."""
        self._said_before = -(-num_samples // FRAME_SAMPLES)

    @property
    def certain(self) -> bool:
        """Whether an utterance is under way that is too long to be dropped."""
        return self._state is not _State.LISTENING and self._spoken >= self._min_speech

    @property
    def samples_left(self) -> int:
        """How much the next utterance may have."""
        return (self._max_utterance - self._said_before) * FRAME_SAMPLES

    def forget(self) -> None:
        """Give up an utterance that has begun, without an event; what follows is not part of it."""
        self._state = _State.LISTENING
        self._free = self._position

    def _speech(self) -> list[EndpointingEvent]:
        state, self._state = self._state, _State.SPEAKING
        self._end_of_turn = self._usual_end_of_turn
        self._last_speech = self._position
        self._spoken = 1 if state is _State.LISTENING else self._spoken + 1
        events: list[EndpointingEvent] = []
        if state is _State.LISTENING:
            self._start = max(self._free, self._position - 1 - self._pre_roll)
            events.append(SpeechStarted(self._start * FRAME_SAMPLES))
        elif state is _State.PAUSED:
            events.append(SpeechResumed())
        if self._is_full():
            events.append(self._ended())
        return events

    def _silence(self, may_end: bool) -> list[EndpointingEvent]:
        if self._state is _State.LISTENING:
            return []
        silent = self._position - self._speech_end
        too_short = self._spoken < self._min_speech and silent >= self._pause
        if (may_end and (too_short or silent >= self._end_of_turn)) or self._is_full():
            return [self._ended()]
        if self._state is _State.SPEAKING and silent >= self._pause and not too_short:
            self._state = _State.PAUSED
            return [PauseReached(self._end * FRAME_SAMPLES, self._speech_end * FRAME_SAMPLES)]
        return []

    @property
    def _speech_end(self) -> int:
        return max(self._start, self._last_speech - DETECTION_LAG_FRAMES)

    @property
    def _end(self) -> int:
        return min(self._speech_end + POST_ROLL_FRAMES, self._position)

    def _is_full(self) -> bool:
        return self._said_before + self._position - self._start >= self._max_utterance

    def _ended(self) -> UtteranceEnded | SpeechDropped:
        self._state = _State.LISTENING
        if self._spoken < self._min_speech:
            return SpeechDropped()
        self._free = self._end
        return UtteranceEnded(
            self._start * FRAME_SAMPLES,
            self._end * FRAME_SAMPLES,
            self._speech_end * FRAME_SAMPLES,
            full=self._is_full(),
        )


def frames(duration_s: float) -> int:
    """A duration in whole frames."""
    return round(duration_s / FRAME_S)
