"""Speech for tests, by flite; what uses it is marked `needs("flite")`."""

import ctypes
import threading
from functools import cache

from services.tts.flite import FliteTTS
from shared.audio.pcm import Pcm, join


def flite_says(text: str, voice: str = "rms") -> Pcm:
    """The text at 16 kHz; always the same sound: flite draws from C's random numbers."""
    ctypes.CDLL(None).srand(0)
    return join(list(_loaded(voice).synthesize(text, threading.Event())))


@cache
def _loaded(voice: str) -> FliteTTS:
    engine = FliteTTS(voice)
    engine.load()
    return engine
