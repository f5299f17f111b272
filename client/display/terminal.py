"""What commands print: tables, JSON, and text that leaves a terminal as it is."""

import json
from collections.abc import Sequence

import typer
from pydantic_core import to_jsonable_python
from rich import box
from rich.table import Table


def plain_table(
    *headings: str, folded: Sequence[str] = (), figures: Sequence[str] = (), between_rows: int = 0
) -> Table:
    """A table without rows yet: headings over a rule, no other lines.

    Its columns: those that are never broken, those that are where space is short, figures to the right.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, between_rows, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for heading in folded:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def print_json(value: object) -> None:
    """Print dataclasses, pydantic models and containers of them as JSON."""
    typer.echo(json.dumps(to_jsonable_python(value), indent=2))


def printable(text: str) -> str:
    """The text without the control characters that could move a terminal's cursor or change its state."""
    return "".join(character for character in text if character.isprintable() or character == "\n")
