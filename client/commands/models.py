"""`s2s models`: the registry as a table."""

import json
from dataclasses import asdict, dataclass

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.errors import reported_errors
from services.selection import discover, select
from shared.engines import MODEL_REGISTRY, RegisteredModel, Weights
from shared.settings import settings

_SHORT_REVISION = 7


@dataclass(frozen=True)
class _Row:
    """A model as it is listed: with all of its spec that one may choose by."""

    stage: str
    name: str
    selected: bool
    """In process."""
    selected_on_modal: bool
    model: str
    summary: str
    licence: str
    sample_rate_hz: int | None
    context_length: int | None
    gpu: str | None
    runs_on_cpu: bool
    concurrent_inputs: int
    memory_snapshot: bool
    gpu_snapshot: bool
    weights: Weights | None
    packages: tuple[str, ...]
    apt_packages: tuple[str, ...]
    python_version: str
    secrets: tuple[str, ...]
    missing_here: str | None


def models_command(*, as_json: bool) -> None:
    """Run the command; see `s2s models --help`."""
    with reported_errors(as_json=as_json):
        discover()
        here, on_modal = select(settings()).models, select(settings(), on_modal=True).models
        models = [model for stage in MODEL_REGISTRY.values() for model in stage.values()]
        rows = [_row(model, here=model in here, on_modal=model in on_modal) for model in models]
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        else:
            console = Console()
            console.print(_table(rows))
            console.print("[bold]here[/], [bold]Modal[/], [bold]both[/]: where it is selected, now.")
            console.print("Select others by ASR_MODEL, LLM_MODEL, TTS_MODEL=<name>. --json tells all.")


def _row(model: RegisteredModel, *, here: bool, on_modal: bool) -> _Row:
    spec = model.spec
    return _Row(
        stage=model.stage.value,
        name=model.name,
        selected=here,
        selected_on_modal=on_modal,
        model=model.engine().model_name,
        summary=spec.summary,
        licence=spec.licence,
        sample_rate_hz=spec.sample_rate_hz,
        context_length=spec.context_length,
        gpu=spec.gpu,
        runs_on_cpu=spec.runs_on_cpu or not spec.gpu,
        concurrent_inputs=spec.concurrent_inputs,
        memory_snapshot=spec.memory_snapshot,
        gpu_snapshot=spec.gpu_snapshot,
        weights=model.engine.weights(),
        packages=spec.packages,
        apt_packages=spec.apt_packages,
        python_version=spec.python_version,
        secrets=spec.secrets,
        missing_here=model.engine.missing(),
    )


def _table(rows: list[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0), pad_edge=False)
    for heading in ("", "stage", "name"):
        table.add_column(heading, no_wrap=True)
    for heading in ("model", "needs"):
        table.add_column(heading, overflow="fold", ratio=1)
    for row in rows:
        selected = _selected(row)
        style = "bold" if selected else ""
        table.add_row(selected, row.stage.upper(), Text(row.name, style), _model(row), _needs(row))
    return table


def _selected(row: _Row) -> str:
    match row.selected, row.selected_on_modal:
        case True, True:
            return "both"
        case True, False:
            return "here"
        case False, True:
            return "Modal"
        case _:
            return ""


def _model(row: _Row) -> Text:
    sizes = [f"{row.sample_rate_hz / 1000:g} kHz"] if row.sample_rate_hz else []
    sizes += [f"{row.context_length:,} tokens"] if row.context_length else []
    return Text("\n").join(
        [Text(row.model, "bold"), Text(row.summary), Text(", ".join([*sizes, row.licence]))]
    )


def _needs(row: _Row) -> Text:
    lines = [Text(_container(row))]
    if row.weights:
        lines.append(Text(f"{row.weights.repository} @{row.weights.revision[:_SHORT_REVISION]}"))
    if installed := (*row.packages, *row.apt_packages):
        lines.append(Text(", ".join(installed)))
    token = (row.weights.token,) if row.weights and row.weights.token else ()
    if secrets := (*row.secrets, *token):
        lines.append(Text(f"Secret: {', '.join(secrets)}"))
    lines.append(_runs_here(row))
    return Text("\n").join(lines)


def _runs_here(row: _Row) -> Text:
    if not row.missing_here:
        return Text("runs here", "green")
    missing, _, _ = row.missing_here.partition(": pip install")  # the packages have been told
    return Text(f"missing here: {missing}", "yellow")


def _container(row: _Row) -> str:
    """What a container of it has and takes on Modal."""
    device = f"{row.gpu} or CPU" if row.gpu and row.runs_on_cpu else row.gpu or "CPU"
    calls = f"{row.concurrent_inputs} call{'s' if row.concurrent_inputs > 1 else ''} at once"
    snapshots = {"memory snapshot": row.memory_snapshot, "GPU snapshot": row.gpu_snapshot}
    return ", ".join([device, calls, *(name for name, taken in snapshots.items() if taken)])
