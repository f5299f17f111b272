"""What the design promises of its speed, on the bench's stages and without the noise of a real clock."""

import pytest

from bench.designs import critical_path_s, hand_chained, overlapped, sequential
from bench.simulated_stages import SimulatedStages, reply_of
from tests.support.virtual_clock import play


@pytest.mark.parametrize("sentences", [1, 3, 8])
def test_the_first_audio_comes_at_the_end_of_the_critical_path_however_long_the_reply(sentences: int) -> None:
    times = play(overlapped()(SimulatedStages(reply_of(sentences))))
    assert times.first_audio_s == pytest.approx(critical_path_s(), abs=1e-6)


@pytest.mark.parametrize("sentences", [1, 3, 8])
def test_the_last_audio_comes_no_later_than_the_sequential_designs(sentences: int) -> None:
    stages = SimulatedStages(reply_of(sentences))
    assert play(overlapped()(stages)).last_audio_s <= play(sequential(stages)).last_audio_s + 1e-6


def test_the_bench_compares_with_a_design_that_has_the_same_critical_path() -> None:
    times = play(hand_chained(SimulatedStages(reply_of(3))))
    assert times.first_audio_s == pytest.approx(critical_path_s(), abs=1e-6)
