"""What a loudspeaker gets that has run dry."""

from client.audio.refill import Refill


def blocks(refill: Refill, xruns: list[int]) -> list[bool]:
    """Whether the blocks, of 10 samples each, are silence, with so many xruns at each."""
    silent = []
    for count in xruns:
        refill.begins(count)
        silent.append(refill.takes(10))
    return silent


def test_a_device_that_does_not_run_dry_gets_sound() -> None:
    assert blocks(Refill(40), [0] * 5) == [False] * 5


def test_one_that_ran_dry_gets_its_buffers_size_of_silence() -> None:
    assert blocks(Refill(40), [0, 1, 1, 1, 1, 1, 1]) == [False] + [True] * 4 + [False] * 2


def test_one_that_runs_dry_again_gets_no_sound_until_it_holds_out() -> None:
    assert blocks(Refill(40), [1, 2, 3, 4, 5, 5, 5, 5, 5]) == [True] * 8 + [False]


def test_running_dry_again_and_again_is_one_gap() -> None:
    refill = Refill(40)
    begun = []
    for xruns in (1, 2, 3, 3, 3, 3, 3, 4):
        begun.append(refill.begins(xruns))
        refill.takes(10)
    assert begun == [True] + [False] * 6 + [True]
