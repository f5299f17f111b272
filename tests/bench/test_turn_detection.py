"""The measurement of turn detection, on the recordings that are there."""

import itertools
import tomllib
from pathlib import Path

import pytest

from bench.turn_detection import MARKS, Found, summed, turn_ends


def test_a_fixed_silence_cuts_the_pauses_that_are_longer_and_waits_as_long_as_it_is(recordings: Path) -> None:
    fixed = {row.rule: row for row in turn_ends(recordings) if row.rule.startswith("fixed")}
    short, usual, long = fixed["fixed, 0.3 s"], fixed["fixed, 1 s"], fixed["fixed, 2 s"]
    assert (short.recordings, short.pauses, short.ends) == (2, 4, 2)  # jfk pauses for 0.3 to 1.2 s
    assert (short.cut, usual.cut, long.cut) == (4, 2, 0)
    assert (usual.wait_median_s, usual.wait_mean_s) == (1.0, 1.0)


def test_turn_detection_waits_less_at_the_ends_and_cuts_no_more_here(recordings: Path) -> None:
    fixed, smart = (row for row in turn_ends(recordings) if row.rule in ("fixed, 1 s", "Smart Turn"))
    assert smart.wait_median_s < 0.5
    assert smart.cut <= fixed.cut


def test_without_recordings_there_is_nothing_to_measure(tmp_path: Path) -> None:
    assert turn_ends(tmp_path) == []


def test_the_figures_come_with_intervals() -> None:
    row = summed("rule", [Found(20, 2, (0.3, 0.5)), Found(30, 3, (0.4,)), Found(50, 0, (2.0,))])
    assert (row.pauses, row.cut, row.ends, row.wait_median_s, row.wait_mean_s) == (100, 5, 4, 0.45, 0.8)
    assert (row.cut_low, row.cut_high) == pytest.approx((0.0215, 0.1118), abs=1e-4)  # Wilson's, tabulated
    assert 0.3 <= row.wait_low_s <= row.wait_median_s <= row.wait_high_s <= 2.0


def test_no_pause_is_marked_twice() -> None:
    marks = tomllib.loads(MARKS.read_text())["recording"]
    assert len({one["file"] for one in marks}) == len(marks)
    for one in marks:
        times_s = sorted(one["ends"] + one["within"])
        assert times_s
        assert all(later - sooner > 0.1 for sooner, later in itertools.pairwise(times_s))
