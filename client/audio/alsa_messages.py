"""What ALSA's library has to say goes to the log instead of the terminal."""

import ctypes
import logging
from functools import cache

logger = logging.getLogger(__name__)

_Handler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


@cache
def alsa_messages_to_log() -> None:
    """Log them, at level DEBUG, from now on; nothing where there is no ALSA.

    It writes a line to standard error whenever a device runs dry, into whatever is shown there; SoundStream
    counts that.
    """
    try:
        alsa = ctypes.CDLL("libasound.so.2")
        alsa.snd_lib_error_set_handler(_handler)
    except (OSError, AttributeError):
        return


def _log(_file: bytes, _line: int, function: bytes, _error: int, form: bytes) -> None:
    """Its arguments for `form` are left out: they are C's, of any number."""
    logger.debug("ALSA: %s: %s", (function or b"").decode(errors="replace"), form.decode(errors="replace"))


_handler = _Handler(_log)
"""Kept: ALSA calls it as long as the process lives."""
