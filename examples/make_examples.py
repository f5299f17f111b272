"""Make the spoken questions of this folder with flite: `python -m examples.make_examples [FOLDER]`."""

import sys
import threading
from pathlib import Path

from services.tts.flite import FliteTTS
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import join
from shared.payloads import Mp3Audio

QUESTIONS = {
    "hello": "Hello there.",
    "my-name-is-peter": "My name is Peter.",
    "tell-me-a-joke": "Tell me a joke.",
    "what-can-you-do": "What can you do?",
    "what-is-my-name": "What is my name?",
    "what-is-six-times-seven": "What is six times seven?",
    "what-is-the-date-today": "What is the date today?",
    "what-is-two-plus-two": "What is two plus two?",
    "what-time-is-it": "What time is it?",
}
"""What is said, by the name of the file without its extension."""


def main() -> None:
    """Write every question as an MP3 into the folder, by default this one, and say which."""
    if lacking := FliteTTS.missing():
        sys.exit(f"The examples are spoken by flite. Missing: {lacking}")
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    engine = FliteTTS()
    engine.load()
    for name, question in QUESTIONS.items():
        path = folder / f"{name}.mp3"
        audio = spoken(engine, question)
        path.write_bytes(audio.mp3)
        print(f"{path}: {question} ({audio.duration_s:.1f} s, {len(audio.mp3)} bytes)")


def spoken(engine: FliteTTS, text: str) -> Mp3Audio:
    """The text, spoken by a loaded engine."""
    return encode_mp3(join(list(engine.synthesize(text, threading.Event()))))


if __name__ == "__main__":
    main()
