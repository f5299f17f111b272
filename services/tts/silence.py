"""Silence around speech."""

import numpy as np
from numpy.typing import NDArray

MAX_BEFORE_S = 0.05
"""Silence before a segment delays the first audio."""
MAX_AFTER_S = 0.25
"""About the pause between two sentences."""
SILENT_BELOW_PEAK = 0.01


def trimmed(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Mono speech with at most 0.05 s of silence before and 0.25 s after it; empty if all is silence."""
    level = np.abs(samples)
    audible = np.flatnonzero(level > SILENT_BELOW_PEAK * level.max(initial=0.0))
    if not audible.size:
        return samples[:0]
    first = max(0, int(audible[0]) - round(MAX_BEFORE_S * sample_rate_hz))
    return samples[first : int(audible[-1]) + 1 + round(MAX_AFTER_S * sample_rate_hz)]
