"""How `s2s` ends, for scripts."""

from enum import IntEnum

from client.audio.audio_file import OutputNotWritten
from shared.errors import (
    BadAudio,
    BadRequest,
    EngineLoadFailed,
    Misconfigured,
    NoSpeech,
    SpeechError,
    TooLong,
    WeightsMissing,
)


class ExitCode(IntEnum):
    """The process's exit code; README.md lists them for users."""

    ANSWERED = 0
    INTERNAL_ERROR = 1
    USAGE = 2  # what the argument parser refuses
    NO_SPEECH = 3
    BAD_INPUT = 4
    MISCONFIGURED = 5
    TURN_FAILED = 6  # trying again can help
    OUTPUT_NOT_WRITTEN = 7
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


def exit_code_of(error: SpeechError) -> ExitCode:
    """The exit code that tells of an error."""
    match error:
        case NoSpeech():
            return ExitCode.NO_SPEECH
        case BadAudio() | TooLong() | BadRequest():
            return ExitCode.BAD_INPUT
        case Misconfigured() | EngineLoadFailed() | WeightsMissing():
            return ExitCode.MISCONFIGURED
        case OutputNotWritten():
            return ExitCode.OUTPUT_NOT_WRITTEN
        case _:
            return ExitCode.TURN_FAILED
