"""Silence for a loudspeaker that has run dry, so that no word of a reply is thrown away."""


class Refill:
    """Says when a device gets silence instead of sound: until it has taken its buffer's size without running
    dry again.

    PulseAudio's ALSA device throws away what it has and begins anew when it runs dry, on a busy machine a
    hundred times a second: of a reply of 6 s, 5 s were not heard (40 ms of buffer, eight busy processes on
    two cores); with silence all of it was.
    """

    def __init__(self, buffer_samples: int) -> None:
        self._buffer_samples = buffer_samples
        self._xruns = 0
        self._missing = 0

    def begins(self, xruns: int) -> bool:
        """Whether the device has run dry while it was full; `xruns` is how often it has in all."""
        ran_dry, self._xruns = xruns != self._xruns, xruns
        began = ran_dry and not self._missing
        if ran_dry:
            self._missing = self._buffer_samples
        return began

    def takes(self, num_samples: int) -> bool:
        """Whether the next so many samples are to be silence."""
        is_needed = self._missing > 0
        self._missing = max(0, self._missing - num_samples)
        return is_needed
