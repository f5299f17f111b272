"""`s2s models`: the registry as a table."""

import json
from dataclasses import asdict, dataclass

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from client.command_errors import reported_errors
from services.selection import Selection, select
from shared.engines import MODEL_REGISTRY, RegisteredModel
from shared.settings import settings


@dataclass(frozen=True)
class _Row:
    """A model as it is listed."""

    stage: str
    name: str
    selected: bool
    model: str
    gpu: str | None
    licence: str
    summary: str
    needs: list[str]
    missing_here: str | None


def models_command(*, as_json: bool) -> None:
    """Run the command; see `s2s models --help`."""
    with reported_errors(as_json=as_json):
        selection = select(settings())
        rows = [_row(model, selection) for stage in MODEL_REGISTRY.values() for model in stage.values()]
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        else:
            console = Console()
            console.print(_table(rows))
            console.print("[bold]*[/] selected. Select others by ASR_MODEL, LLM_MODEL, TTS_MODEL=<name>.")


def _row(model: RegisteredModel, selection: Selection) -> _Row:
    spec = model.spec
    needs = [*spec.packages, *spec.apt_packages, *spec.secrets]
    return _Row(
        stage=model.stage.value,
        name=model.name,
        selected=model in selection.models,
        model=model.engine().model_name,
        gpu=spec.gpu,
        licence=spec.licence,
        summary=spec.summary,
        needs=needs,
        missing_here=model.engine.missing(),
    )


def _table(rows: list[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("", "stage", "name"):
        table.add_column(heading, no_wrap=True)
    for heading in ("model", "GPU", "licence", "needs", "runs here"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            "*" if row.selected else "",
            row.stage.upper(),
            row.name,
            row.model,
            row.gpu or "-",
            row.licence,
            "\n".join(row.needs) or "-",
            f"[yellow]no: {row.missing_here}[/]" if row.missing_here else "[green]yes[/]",
            style="bold" if row.selected else "",
        )
    return table
