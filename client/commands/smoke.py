"""`s2s smoke`: each deployed app answers real input, twice: the first call may meet a cold start."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.cloud.modal_connection import connected
from client.cloud.smoke_calls import Answer, SmokeCalls
from client.errors import exit_code_of, reported_errors
from shared.deployment import APPS
from shared.errors import SpeechError, Stage
from shared.settings import settings
from shared.turn import Failure


@dataclass
class Check:
    """What came of one app."""

    app: str
    answers: list[Answer] = field(default_factory=list)
    error: SpeechError | None = None


def smoke_command(stages: Sequence[Stage], *, as_json: bool) -> None:
    """Run the command; see `s2s smoke --help`. It ends with the first failure's exit code."""
    with reported_errors(as_json=as_json):
        checks = asyncio.run(_checked(stages, Console(stderr=True)))
        if as_json:
            typer.echo(json.dumps([_as_json(check) for check in checks], indent=2))
        else:
            Console().print(_table(checks))
        for check in checks:
            if check.error:
                raise typer.Exit(exit_code_of(check.error))


async def _checked(stages: Sequence[Stage], terminal: Console) -> list[Check]:
    await connected()
    calls = SmokeCalls(settings())
    checks = []
    with terminal.status("") as status:
        for stage in stages:
            checks.append(check := Check(APPS[stage]))
            try:
                for which in ("first", "second"):
                    status.update(f"{APPS[stage]}: {which} call …")
                    check.answers.append(await calls.call(stage))
            except SpeechError as error:
                check.error = error
    return checks


def _as_json(check: Check) -> dict[str, object]:
    error = Failure.of(check.error).model_dump(mode="json") if check.error else None
    return {"app": check.app, "calls": [asdict(answer) for answer in check.answers], "error": error}


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("app", "first call", "second call"):
        table.add_column(heading, no_wrap=True)
    for heading in ("model", "answer"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        calls = [_call(answer) for answer in check.answers] + ["-", "-"]
        last = check.answers[-1] if check.answers else None
        told = Text(check.error.message, "red") if check.error else Text(last.text if last else "", "green")
        table.add_row(check.app, calls[0], calls[1], last.model if last else "-", told)
    return table


def _call(answer: Answer) -> str:
    return f"{answer.total_ms:,} ms" + (" cold" if answer.cold else "")
