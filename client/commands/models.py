"""`s2s models`: the models that can be selected."""

from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.display.terminal import plain_table, print_json
from services.selection import discover, select
from services.weights import are_fetched
from shared.engines import MODEL_REGISTRY, RegisteredModel
from shared.settings import settings
from shared.weights import HubWeights, Weights

_SHORT_REVISION = 7


@dataclass(frozen=True)
class _Row:
    """A model, where it is selected now, and what this machine lacks to run it."""

    model: RegisteredModel
    here: bool
    on_modal: bool
    missing_here: str | None

    def as_json(self) -> dict[str, object]:
        """All of the engine's spec, with what a setting chooses."""
        spec, weights = self.model.spec, self.model.engine.weights()
        return {
            "stage": self.model.stage,
            "name": self.model.name,
            "selected": self.here,
            "selected_on_modal": self.on_modal,
            "model": self.model.engine().model_name,
            **asdict(spec),
            "runs_on_cpu": spec.runs_on_cpu or not spec.gpu,
            "weights": weights,
            "missing_here": self.missing_here,
        }


def models_command(*, as_json: bool) -> None:
    """Run the command; see `s2s models --help`."""
    discover()
    here, on_modal = select(settings()), select(settings(), on_modal=True)
    models = [model for stage in MODEL_REGISTRY.values() for model in stage.values()]
    rows = [_Row(model, model in here, model in on_modal, _missing(model)) for model in models]
    if as_json:
        print_json([row.as_json() for row in rows])
    else:
        console = Console()
        console.print(_table(rows))
        console.print("[bold]here[/], [bold]Modal[/], [bold]both[/]: where the model is selected now.")
        console.print("Select others with ASR_MODEL, LLM_MODEL, TTS_MODEL=<name>. More with --json.")


def _missing(model: RegisteredModel) -> str | None:
    weights = model.engine.weights()
    if (missing := model.engine.missing()) or weights is None or are_fetched(weights):
        return missing
    return f"weights: {model.stage.upper()}_MODEL={model.name} s2s fetch-weights"


def _table(rows: list[_Row]) -> Table:
    table = plain_table("", "stage", "name", folded=("model", "needs"), between_rows=1)
    for row in rows:
        selected = {(True, True): "both", (True, False): "here", (False, True): "Modal"}.get(
            (row.here, row.on_modal), ""
        )
        name = Text(row.model.name, "bold" if selected else "")
        table.add_row(selected, row.model.stage.upper(), name, _model(row.model), _needs(row))
    return table


def _model(model: RegisteredModel) -> Text:
    spec = model.spec
    properties = [f"{spec.sample_rate_hz / 1000:g} kHz"] if spec.sample_rate_hz else []
    properties += [f"{spec.context_length:,} tokens"] if spec.context_length else []
    properties.append(spec.licence)
    return Text.assemble((model.engine().model_name, "bold"), f"\n{spec.summary}\n{', '.join(properties)}")


def _needs(row: _Row) -> Text:
    spec, weights = row.model.spec, row.model.engine.weights()
    lines = [_container(row.model)]
    if weights:
        lines.append(_source(weights))
    if installed := (*spec.packages, *spec.apt_packages):
        lines.append(", ".join(installed))
    token = (weights.token,) if weights and weights.token else ()
    if secrets := (*spec.secrets, *token):
        lines.append(f"Secret: {', '.join(secrets)}")
    missing, _, _ = (row.missing_here or "").partition(": pip install")  # the packages are shown above
    runs_here = (f"missing here: {missing}", "yellow") if missing else ("runs here", "green")
    return Text.assemble("\n".join(lines), "\n", runs_here)


def _source(weights: Weights) -> str:
    if isinstance(weights, HubWeights):
        return f"{weights.repository} @{weights.revision[:_SHORT_REVISION]}"
    return weights.name


def _container(model: RegisteredModel) -> str:
    """What a container of the model has, and how many calls it processes, on Modal."""
    spec = model.spec
    device = f"{spec.gpu} or CPU" if spec.gpu and spec.runs_on_cpu else spec.gpu or "CPU"
    calls = f"{spec.concurrent_inputs} call{'s' if spec.concurrent_inputs > 1 else ''} at once"
    snapshots = {"memory snapshot": spec.memory_snapshot, "GPU snapshot": spec.gpu_snapshot}
    return ", ".join([device, calls, *(name for name, taken in snapshots.items() if taken)])
