"""`s2s report`: the summary of sessions, from their metrics file."""

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console

from client.metrics.metrics_file import read_metrics
from client.metrics.session_summary import Summary, summarised
from client.metrics.session_table import session_table


def report_command(path: Path, *, as_json: bool) -> None:
    """Run the command; see `s2s report --help`."""
    summary = summarised(read_metrics(path))
    if as_json:
        typer.echo(json.dumps(_as_json(summary), indent=2))
    else:
        Console().print(session_table(summary))


def _as_json(summary: Summary) -> dict[str, object]:
    return asdict(summary) | {"traffic": summary.traffic.model_dump()}
