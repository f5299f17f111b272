"""What simulations came to, as tables and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.table import Table

from bench.scale.recommendation import Recommendation
from bench.scale.simulation import Case, Outcome
from bench.tables import figures_table
from client.cost.table import dollars
from client.targets import App


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """Load by load."""
    table = figures_table(
        "A day on Modal, simulated",
        "turns an hour", "", "voice-to-\nvoice p50", "p95", "met a\ncold start", "failed",
        "GPU hours\nan hour", "dollars\nan hour", "a turn", "turns\nmeasured",
    )  # fmt: skip
    for outcome in outcomes:
        table.add_row(
            f"{outcome.turns_per_hour:,.10g}",
            outcome.deployment,
            *(f"{seconds:.1f} s" for seconds in (outcome.p50_s, outcome.p95_s)),
            percent(outcome.cold_share),
            percent(outcome.failed_share),
            f"{outcome.gpu_hours_per_hour:,.2f}",
            dollars(outcome.dollars_per_hour),
            dollars(outcome.dollars_per_turn),
            f"{outcome.turns:,}",
        )
    return table


def containers_table(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Table:
    """App by app: on average of the day, and the most at once."""
    table = figures_table(
        "Containers",
        "turns an hour", "app", "on average", "most", "maximum set", "cold starts an hour", "dollars an hour",
    )  # fmt: skip
    for case, outcome in zip(cases, outcomes, strict=True):
        for priced, app in zip(case.deployment.apps, outcome.apps, strict=True):
            most = priced.scaling.max_containers
            table.add_row(
                f"{outcome.turns_per_hour:,.10g}",
                app.app,
                f"{app.containers:,.2f}",
                f"{app.most:,}",
                f"{most} [bold]too few[/]" if app.most > most else f"{most}",
                f"{app.cold_starts_per_hour:,.1f}",
                dollars(app.dollars_per_hour),
            )
    return table


def recommendations(case: Case, found: Recommendation) -> Iterator[str]:
    """What to set, a line each."""
    load = f"{case.load.turns_per_hour:,.10g} turns an hour, {case.deployment.name}"
    if found.case is None or found.outcome is None:
        why = f"none was found in the search, though without any wait it would be {found.fastest_s:.1f} s"
        if found.fastest_s > found.goal_s:
            why = (
                "no setting of containers meets it: where no turn waits for one, it is "
                f"{found.fastest_s:.1f} s. Faster engines or GPUs, shorter replies or a shorter silence would"
            )
        yield f"{load}: p95 of {found.goal_s:g} s: {why}."
        return
    outcome = found.outcome
    yield (
        f"{load}: p95 {outcome.p95_s:.2f} s (goal {found.goal_s:g} s), p50 {outcome.p50_s:.2f} s, a cold "
        f"start met by {percent(outcome.cold_share)}, {dollars(outcome.dollars_per_hour)} an hour, with"
    )
    for line in _settings(case, found.case, outcome):
        yield "  " + " ".join(f"{name}={number}" for name, number in line.items())


def _settings(before: Case, after: Case, outcome: Outcome) -> Iterator[dict[str, int]]:
    """Those of each app. The maximum is named where it does not suffice."""
    for old, new, app in zip(before.deployment.apps, after.deployment.apps, outcome.apps, strict=True):
        scaling = new.scaling
        line = {"MIN_CONTAINERS": scaling.min_containers, "BUFFER_CONTAINERS": scaling.buffer_containers}
        if app.app is not App.ORCHESTRATOR:
            line["CONCURRENT_INPUTS"] = scaling.calls_at_once
        if app.most > old.scaling.max_containers:
            line["MAX_CONTAINERS"] = app.most
        yield {f"S2S_{app.app.upper()}_{name}": number for name, number in line.items()}


def recommendation_as_json(case: Case, found: Recommendation) -> dict[str, object]:
    """The goal, and the settings and figures if it can be met."""
    document: dict[str, object] = {
        "deployment": case.deployment.name,
        "turns_per_hour": case.load.turns_per_hour,
        "goal_s": found.goal_s,
        "fastest_s": found.fastest_s,
    }
    if found.case and found.outcome:
        lines = _settings(case, found.case, found.outcome)
        document["settings"] = {name: number for line in lines for name, number in line.items()}
        document["outcome"] = outcome_as_json(found.outcome)
    return document


def outcome_as_json(outcome: Outcome) -> dict[str, object]:
    """All figures, without those of each turn."""
    figures = {name: value for name, value in asdict(outcome).items() if name != "voice_to_voice_s"}
    sums = ("dollars_per_hour", "dollars_per_turn", "gpu_hours_per_hour")
    return figures | {name: getattr(outcome, name) for name in sums}


def percent(share: float) -> str:
    """A share to a tenth of a percent."""
    return f"{share:.1%}"
