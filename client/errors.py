"""How a command of `s2s` fails: the client's own errors, one line on standard error, and an exit code."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich.console import Console
from rich.text import Text

from client.display.terminal import print_json, printable
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
from shared.logs import configure_logging
from shared.settings import settings
from shared.turn import Failure


class OutputNotWritten(SpeechError):
    """The reply, or what else a command writes, cannot be written where it should go."""

    kind = "output_not_written"


class ExitCode(IntEnum):
    """The process's exit code, for scripts; README.md lists them for users."""

    SUCCESS = 0
    INTERNAL_ERROR = 1
    USAGE = 2  # what the argument parser refuses
    NO_SPEECH = 3
    BAD_INPUT = 4
    MISCONFIGURED = 5
    FAILED = 6  # a turn, or a call to Modal: a retry can help
    OUTPUT_NOT_WRITTEN = 7
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


def exit_code_of(error: SpeechError) -> ExitCode:
    """The exit code of a command that ends with this error."""
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
            return ExitCode.FAILED


@contextmanager
def reported_errors(*, as_json: bool) -> Iterator[None]:
    """Around a command: set up its log; report what it raises by a line on standard error and an exit code.

    With `as_json`, standard output gets one object with the member `error` as well.
    """
    try:
        configure_logging(settings())
        with _modal_may_be_missing():
            yield
    except SpeechError as error:
        if as_json:
            print_json({"error": Failure.of(error)})
        _print(error.message)
        raise typer.Exit(exit_code_of(error)) from error
    except KeyboardInterrupt as interrupt:
        _print(f"Interrupted. {interrupt}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except typer.Abort:
        _print("Not confirmed, so nothing was done. Where nobody can answer, use --yes.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.TyperException):
        raise
    except (BrokenPipeError, SystemExit):  # the reader of our output has left; rich then raises SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is flushed at exit
        raise typer.Exit(ExitCode.OUTPUT_NOT_WRITTEN) from None
    except Exception as error:
        if settings().log_level == "DEBUG":
            traceback.print_exc(file=sys.stderr)
        _print(f"Internal error: {error!r}. Please report it, with what S2S_LOG_LEVEL=DEBUG shows.")
        raise typer.Exit(ExitCode.INTERNAL_ERROR) from error


@contextmanager
def _modal_may_be_missing() -> Iterator[None]:
    """The library is optional; who runs engines in process needs none."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "modal":
            raise
        raise Misconfigured(
            "This needs the library modal: pip install -e '.[cloud]', or make setup"
        ) from None


def _print(message: str) -> None:
    line = Text.assemble(("s2s: ", "bold red"), " ".join(printable(message).split()))
    Console(stderr=True, soft_wrap=True).print(line)
