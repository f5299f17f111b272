"""Loudspeaker echo and background noise taken out of the microphone's audio, so that a reply does not
interrupt itself.

By WebRTC's audio processing, from livekit's AudioProcessingModule.
"""

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from client.audio.samples import SampleQueue
from conversation.audio import Samples
from shared.audio.pcm import as_int16
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import Misconfigured

if TYPE_CHECKING:
    from livekit.rtc import AudioFrame, AudioProcessingModule

_SHORT_FRAME_SAMPLES = ASR_SAMPLE_RATE_HZ // 100
"""WebRTC's audio processing takes 10 ms at a time."""
_REBLOCKING_SAMPLES = 128
"""512 n samples hold up to 128 (its multiples of 32 below 160) that are not yet a whole 10 ms."""
_MAX_FAR_SAMPLES = ASR_SAMPLE_RATE_HZ
_SPARE_SAMPLES = 2 * _SHORT_FRAME_SAMPLES
_LOOK_EVERY_FRAMES = 1_000
"""Every 10 s all but two of the short frames that were never needed meanwhile are left out: the clocks of two
sound cards are not quite alike, and a microphone may have lost something."""
_SCALE = np.float32(32_768)


class EchoCanceller:
    """Takes the speaker's audio, the noise, or both out of the microphone's; all at 16 kHz, mono float32.

    `far` may be called from an audio thread, `near` from one other. The output is LATENCY_SAMPLES later
    than the input.

    Raises Misconfigured if livekit is not installed. It is loaded here (0.2 s), not before.
    """

    LATENCY_SAMPLES = _REBLOCKING_SAMPLES + 128 + 96
    """22 ms: for splitting frames, in the echo canceller and in the noise suppression. The last two are
    measured (livekit 1.2.1): the lag at which its output is most like noise put in."""

    # Of its options, measured as its test does (20 replies in one session, echo at -27 dB; 10 people
    # speaking over it at -26 dB, paused at the first speech): echo cancellation alone leaves -67 dB
    # and detects 9; with noise suppression -79 dB (the noise itself was at -65) and 10; with gain control as
    # well -64 dB and 10. Noise suppression also helped recognition: in white noise at 20 dB pocketsphinx
    # had 32 of 72 words wrong, 39 without it, 46 on the plain audio; without noise 13, 17 and 13. The
    # high-pass filter is part of echo cancellation, and made no difference.
    # WebRTC finds the echo's delay by itself. A stated delay that is too long is worse than 0: with 100 ms
    # stated of 40, replies were taken for speech; with 0 none was for delays of 0 to 300 ms (recorded from a
    # loop through PulseAudio).
    def __init__(self, *, cancel_echo: bool = True, suppress_noise: bool = True) -> None:
        self._module = _audio_processing(cancel_echo, suppress_noise)
        self._cancels_echo = cancel_echo
        self._lock = Lock()
        self._far = SampleQueue()
        self._near = SampleQueue()
        self._clean = SampleQueue()
        self._begun = False
        self._frames = 0
        self._spare = _MAX_FAR_SAMPLES  # the least that was waiting lately
        self._clean.append(np.zeros(_REBLOCKING_SAMPLES, np.float32))

    def far(self, samples: Samples) -> None:
        """The speaker plays this, its silence too: call it when the sound card gets it.

        Cheap, for an audio callback. Of what no microphone has recorded yet, a second is kept.
        """
        with self._lock:
            self._far.append(samples)
            self._far.take(len(self._far) - _MAX_FAR_SAMPLES)

    def near(self, samples: Samples) -> Samples:
        """A frame of the microphone, (512,), without echo and noise; as long, and LATENCY_SAMPLES late."""
        if samples.shape != (FRAME_SAMPLES,):
            raise ValueError(f"The echo canceller takes frames of ({FRAME_SAMPLES},), not {samples.shape}.")
        self._near.append(samples)
        for _ in range(len(self._near) // _SHORT_FRAME_SAMPLES):
            if self._cancels_echo:
                self._module.process_reverse_stream(_frame(self._next_far()))
            self._clean.append(self._cleaned(self._near.take(_SHORT_FRAME_SAMPLES)))
        return self._clean.take(FRAME_SAMPLES)

    def _next_far(self) -> Samples:
        """The 10 ms of the speaker's audio to go with 10 ms of the microphone's.

        One for one, whenever they come: devices deliver audio in bursts, and WebRTC takes a burst of either
        for a changed delay (20 frames of 5 replies were taken for speech). Silence stands in for what is
        late, which makes the queue longer by as much.
        """
        with self._lock:
            if not self._begun:  # the speaker was there first
                self._far.take(len(self._far))
                self._begun = True
            self._leave_out_what_is_spare()
            frame = self._far.take(_SHORT_FRAME_SAMPLES)
        return np.pad(frame, (_SHORT_FRAME_SAMPLES - frame.size, 0))

    def _leave_out_what_is_spare(self) -> None:
        self._spare = min(self._spare, len(self._far))
        self._frames += 1
        if self._frames % _LOOK_EVERY_FRAMES == 0:
            self._far.take(self._spare - _SPARE_SAMPLES)
            self._spare = len(self._far)

    def _cleaned(self, samples: Samples) -> Samples:
        frame = _frame(samples)
        self._module.set_stream_delay_ms(0)
        self._module.process_stream(frame)
        return np.divide(frame.data, _SCALE, dtype=np.float32)


def _audio_processing(cancel_echo: bool, suppress_noise: bool) -> "AudioProcessingModule":
    try:
        from livekit.rtc import AudioProcessingModule  # optional, and 30 MB
    except ImportError as error:
        raise Misconfigured(
            "Echo cancellation and noise suppression need the library livekit: pip install -e '.[talk]', "
            "or make setup; or use --no-aec --no-denoise"
        ) from error
    return AudioProcessingModule(echo_cancellation=cancel_echo, noise_suppression=suppress_noise)


def _frame(samples: Samples) -> "AudioFrame":
    from livekit.rtc import AudioFrame

    return AudioFrame(as_int16(samples).tobytes(), ASR_SAMPLE_RATE_HZ, 1, samples.size)
