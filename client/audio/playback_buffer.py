"""Between a turn that brings audio in segments and a sound card that pulls it in blocks."""

from collections.abc import Sequence
from threading import Lock

import numpy as np

from client.audio.samples import SampleQueue
from conversation.audio import Samples, SegmentPlayed
from shared.audio.pcm import Pcm

FADE_S = 0.005
"""Audio that stops within a sample clicks."""


class PlaybackBuffer:
    """Replies, each of several segments, as one gapless stream of samples; safe to use from several threads.

    A reply begins with its first segment and ends with `end_reply`, or at once with `clear`. Where its next
    segment is late, silence is played, and the underrun counted when that segment comes: so neither
    waiting for the first segment nor what follows the last is one.

    The audio fades within FADE_S where it is paused, resumed or cleared. The fading samples of a pause
    are played again when it is resumed, so that nothing is lost.
    """

    def __init__(self, sample_rate_hz: int, fade_s: float = FADE_S) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.underruns = 0
        """How often a segment came too late."""
        self._lock = Lock()
        self._fade = max(1, round(fade_s * sample_rate_hz))
        self.position = 0
        """How many samples have been read in all."""
        self._cut_off = SampleQueue()  # the end of a cleared reply, fading
        self._begin()

    def _begin(self, *, paused: bool = False) -> None:
        self._ahead = SampleQueue()
        self._sizes: list[int] = []
        self._played = 0
        self.begun_at: int | None = None
        """How many samples had been read in all before the reply's first; None until then."""
        self._ended = True
        self._paused = paused
        self.sounding = False
        """Whether the last sample played was one of the reply."""
        self._gain = 0 if paused else self._fade  # of full volume, in steps of a sample
        self._faded = 0  # samples played while fading, which are still ahead
        self._dry = False  # silence was played where the reply was expected

    def append(self, pcm: Pcm) -> None:
        """Play a segment behind those before it.

        A segment that follows `end_reply` before the reply's end was played is counted with that reply.

        Raises ValueError if its sample rate is not the buffer's.
        """
        if pcm.sample_rate_hz != self.sample_rate_hz:
            raise ValueError(f"This buffer takes {self.sample_rate_hz} Hz, not {pcm.sample_rate_hz} Hz.")
        with self._lock:
            if self._ended and not len(self._ahead):
                self._begin(paused=self._paused)
            self._ended = False
            self._sizes.append(pcm.num_samples)
            self._ahead.append(pcm.samples)
            if pcm.num_samples:
                self.underruns += self._dry
                self._dry = False

    def extend(self, samples: Samples) -> None:
        """These samples belong to the last segment too; of a reply that has ended, nothing."""
        with self._lock:
            if self._sizes and not self._ended:
                self._sizes[-1] += samples.size
                self._ahead.append(samples)

    def end_reply(self) -> None:
        """Nothing more belongs to the reply."""
        with self._lock:
            self._ended = True
            self._dry = False

    def read(self, num_samples: int) -> Samples:
        """The next samples to be played, float32 (num_samples,); silence where there is nothing."""
        block = np.zeros(num_samples, np.float32)
        with self._lock:
            self.position += num_samples
            rest = block[self._put(self._cut_off.take(num_samples), block) :]
            if self._paused:
                self._fade_out(rest)
            else:
                self._play(rest)
        return block

    def pause(self) -> None:
        """Fall silent; nothing is lost."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Continue where playback was paused."""
        with self._lock:
            self._paused = False
            self._played += self._ahead.take(self._faded).size  # it had not quite faded: no step back
            self._faded = 0

    def clear(self) -> tuple[SegmentPlayed, ...]:
        """Drop the reply and be ready for the next one, not paused.

        Returns how much of each segment was played.
        """
        with self._lock:
            played = tuple(_segments_played(self._sizes, self._played))
            if self.sounding:
                self._cut_off.append(self._fading(self._ahead.peek(self._faded, self._gain)))
            self._begin()
            return played

    @property
    def done(self) -> bool:
        """Whether everything was played and nothing more is to come."""
        with self._lock:
            return self._ended and not len(self._ahead) and not len(self._cut_off)

    def _play(self, block: Samples) -> None:
        samples = self._ahead.take(block.size)
        if samples.size and self.begun_at is None:
            self.begun_at = self.position - block.size
        self._played += samples.size
        rising = min(samples.size, self._fade - self._gain)
        samples[:rising] *= self._gains(self._gain + 1, rising, 1)
        self._gain += rising
        silence = block.size - self._put(samples, block)
        if block.size:
            self.sounding = not silence
        if silence and self._played and not self._ended:
            self._dry = True

    def _fade_out(self, block: Samples) -> None:
        samples = self._ahead.peek(self._faded, min(block.size, self._gain)) if self.sounding else block[:0]
        self._put(self._fading(samples), block)
        self._faded += samples.size
        self._gain -= samples.size
        if samples.size < block.size or not self._gain:
            self._gain = self._faded = 0
            self.sounding = False

    def _fading(self, samples: Samples) -> Samples:
        return samples * self._gains(self._gain - 1, samples.size, -1)

    def _gains(self, first: int, count: int, step: int) -> Samples:
        return (first + step * np.arange(count, dtype=np.float32)) / np.float32(self._fade)

    @staticmethod
    def _put(samples: Samples, block: Samples) -> int:
        block[: samples.size] = samples
        return samples.size


def _segments_played(sizes: Sequence[int], played: int) -> list[SegmentPlayed]:
    segments = []
    for size in sizes:
        segments.append(SegmentPlayed(size, min(size, played)))
        played -= segments[-1].played_samples
    return segments
