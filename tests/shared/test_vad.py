"""Voice activity detection, frame by frame."""

import numpy as np
import pytest

from shared.audio.vad import FRAME_SAMPLES, VoiceActivityDetector
from tests.support.flite_speech import flite_says


@pytest.mark.needs("flite")
def test_what_came_before_a_reset_makes_no_difference() -> None:
    samples = flite_says("yes").samples
    speech = np.pad(samples, (0, -samples.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    detector = VoiceActivityDetector()
    first = [detector.probability(frame) for frame in speech]
    assert [detector.probability(frame) for frame in speech] != first
    detector.reset()
    assert [detector.probability(frame) for frame in speech] == first
