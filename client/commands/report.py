"""`s2s report`: the summary of conversations, from their metrics file."""

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console

from client.metrics.metrics_file import read_metrics
from client.metrics.summary import summarized
from client.metrics.table import summary_table


def report_command(path: Path, *, as_json: bool) -> None:
    """Run the command; see `s2s report --help`."""
    summary = summarized(read_metrics(path))
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        Console().print(summary_table(summary))
