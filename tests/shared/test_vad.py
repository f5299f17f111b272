"""Voice activity detection, frame by frame."""

import os
from pathlib import Path

import numpy as np
import pytest

from shared.audio.vad import FRAME_SAMPLES, VoiceActivityDetector
from tests.support.flite_speech import flite_says
from tests.support.python_programs import run_python


@pytest.mark.needs("flite")
def test_what_came_before_a_reset_makes_no_difference() -> None:
    samples = flite_says("yes").samples
    speech = np.pad(samples, (0, -samples.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    detector = VoiceActivityDetector()
    first = [detector.probability(frame) for frame in speech]
    assert [detector.probability(frame) for frame in speech] != first
    detector.reset()
    assert [detector.probability(frame) for frame in speech] == first


def test_a_frame_is_the_work_of_one_thread_and_the_environment_stays_as_it_was(tmp_path: Path) -> None:
    program = """
import os, numpy, psutil
from shared.audio.vad import FRAME_SAMPLES, VoiceActivityDetector
before = psutil.Process().num_threads(), dict(os.environ)
VoiceActivityDetector().probability(numpy.zeros(FRAME_SAMPLES, numpy.float32))
assert (psutil.Process().num_threads(), dict(os.environ)) == before
"""
    done = run_python(["-c", program], cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
