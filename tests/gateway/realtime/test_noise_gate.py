"""What may be speech is told from the noise of a room, and nothing of either is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.noise_gate import Heard, heard, noises, spoken
from bench.sounds import Samples, decibels
from gateway.realtime.noise_gate import HELD_S, NoiseGate

RATE_HZ = 8_000
PIECE_S = 0.04


def noise(duration_s: float, db: float) -> list[Samples]:
    """White noise in pieces."""
    chance = np.random.default_rng(0)
    pieces = round(duration_s / PIECE_S)
    samples = chance.normal(0, decibels(db), (pieces, round(PIECE_S * RATE_HZ)))
    return list(samples.astype(np.float32))


def may_be_speech(gate: NoiseGate, pieces: list[Samples]) -> list[bool]:
    return [gate.process(piece, opened=False)[1] for piece in pieces]


def used_to(db: float) -> NoiseGate:
    """A gate in a room that has been so loud for long."""
    gate = NoiseGate(RATE_HZ)
    may_be_speech(gate, noise(20.0, db))
    return gate


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.floats(0.0, 1.0, width=32), st.booleans()), max_size=40),
)
def test_all_that_comes_is_let_through_in_its_order(pieces: list[tuple[int, float, bool]]) -> None:
    gate = NoiseGate(RATE_HZ)
    given_s = [np.full(size, level, np.float32) for size, level, _ in pieces]
    passed = [
        gate.process(piece, opened=opened)[0] for piece, (_, _, opened) in zip(given_s, pieces, strict=True)
    ]
    given_s.append(np.ones(1, np.float32))
    passed.append(gate.process(given_s[-1], opened=True)[0])
    assert np.array_equal(np.concatenate(passed), np.concatenate(given_s))
    assert gate.held_s == 0.0


def test_nothing_is_held_for_longer_than_held_s() -> None:
    gate = used_to(-40)
    for piece in noise(4.0, -40):
        gate.process(piece, opened=False)
        assert gate.held_s < HELD_S


@pytest.mark.parametrize("db", [-20, -40, -70])
def test_a_room_that_stays_as_loud_as_it_is_is_not_listened_to(db: float) -> None:
    assert sum(may_be_speech(used_to(db), noise(20.0, db))) <= 10  # of 500


def test_what_is_louder_comes_at_once_with_what_was_just_before() -> None:
    gate = used_to(-40)
    gate.process(noise(PIECE_S, -40)[0], opened=True)
    before = noise(2 * PIECE_S, -40)
    assert [gate.process(piece, opened=False)[0].size for piece in before] == [0, 0]
    [louder] = noise(PIECE_S, -25)
    passed, may_be = gate.process(louder, opened=False)
    assert may_be
    assert np.array_equal(passed, np.concatenate([*before, louder]))


def test_opened_it_lets_everything_through() -> None:
    gate = used_to(-40)
    for piece in noise(0.4, -60):
        passed, may_be = gate.process(piece, opened=True)
        assert may_be
        assert passed.size


def test_a_room_that_becomes_louder_is_got_used_to_but_not_within_a_word() -> None:
    louder = may_be_speech(used_to(-50), noise(8.0, -35))
    assert all(louder[: round(1.0 / PIECE_S)])
    assert not any(louder[-round(2.0 / PIECE_S) :])


def test_a_message_without_audio_tells_nothing_of_the_room() -> None:
    gate = used_to(-40)
    gate.process(np.empty(0, np.float32), opened=True)
    assert not any(may_be_speech(gate, noise(1.0, -40)))


def test_half_an_hour_in_one_message_may_be_speech() -> None:
    """As much as a message may hold in a telephone's format."""
    assert used_to(-40).process(np.full(1_966 * RATE_HZ, 0.5, np.float32), opened=False)[1]


def test_a_room_that_becomes_quieter_is_at_once() -> None:
    gate = used_to(-30)
    may_be_speech(gate, noise(2 * HELD_S, -60))
    assert all(may_be_speech(gate, noise(PIECE_S, -45)))


async def both(noise_name: str, snr_db: float, level_db: float) -> tuple[Heard, Heard]:
    """With the VAD listening to everything, and through the gate."""
    sound = spoken(noises(None)[noise_name], snr_db, level_db, seed=0)
    return await heard(sound, gated=False), await heard(sound, gated=True)


@pytest.mark.slow
@pytest.mark.parametrize(("noise_name", "snr_db", "level_db"), [("white", 20, 0), ("pink", 5, -25)])
async def test_speech_is_found_as_well_as_by_a_vad_that_hears_everything_and_not_later(
    noise_name: str, snr_db: float, level_db: float
) -> None:
    everything, gated = await both(noise_name, snr_db, level_db)
    assert (len(gated.found_s), gated.false) == (gated.spoken, 0)
    assert np.median(gated.found_s) <= np.median(everything.found_s)
    assert gated.listened < 0.7
