"""How a command ends when it cannot do its work: one line that says what is wrong, and an exit code."""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from client.exit_code import ExitCode, exit_code_of
from shared.errors import SpeechError
from shared.settings import settings
from shared.turn import Failure


@contextmanager
def reported_errors(*, as_json: bool) -> Iterator[None]:
    """Turn what a command raises into a line on standard error and its exit code.

    With `as_json`, standard output gets one object with the member `error` as well.
    """
    try:
        yield
    except SpeechError as error:
        if as_json:
            typer.echo(json.dumps({"error": Failure.of(error).model_dump(mode="json")}))
        _say(error.message)
        raise typer.Exit(exit_code_of(error)) from error
    except KeyboardInterrupt:
        _say("Interrupted.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as error:
        if settings().log_level == "DEBUG":
            traceback.print_exc(file=sys.stderr)
        _say(f"Internal error: {error!r}. Please report it, with what S2S_LOG_LEVEL=DEBUG shows.")
        raise typer.Exit(ExitCode.INTERNAL_ERROR) from error


def _say(message: str) -> None:
    line = Text.assemble(("s2s: ", "bold red"), " ".join(message.split()))
    Console(stderr=True, soft_wrap=True).print(line)
