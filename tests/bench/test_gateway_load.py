"""The bench of the gateway: people who talk to one over simulated stages, and the same turn without it."""

import pytest

from bench.designs import critical_path_s
from bench.gateway.in_process import voice_to_voice_s
from bench.gateway.load import soak
from shared.settings import Settings

pytestmark = pytest.mark.slow


def test_no_turn_is_quicker_than_its_stages_with_a_gateway_or_without() -> None:
    bound_s = Settings().speculation_after_s + critical_path_s() - 0.1  # how early the VAD ends speech
    talked = soak(sessions=2, duration_s=1.0)
    assert talked.turns >= 1
    assert talked.first_voice_to_voice_s > bound_s
    assert voice_to_voice_s(1)[0] > bound_s
