"""`python -m bench.scale`: days on Modal, simulated: what 10 to 1,000,000 turns an hour wait and cost, with
the selection and settings of now. The largest of the default loads takes most of the two minutes."""

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.scale.apps import Times
from bench.scale.assumptions import BOOT_S, CALL_S, ENGINE_START_S, assumptions, with_measured
from bench.scale.day import Day, day_of
from bench.scale.plots import plots
from bench.scale.recommendation import Recommendation, recommend
from bench.scale.runner import Runner
from bench.scale.simulation import Case, Outcome, raised
from bench.scale.tables import (
    containers_table,
    outcome_as_json,
    outcomes_table,
    recommendation_as_json,
    recommendations,
)
from client.cost import assumptions as cost_assumptions
from client.cost.deployment import priced_deployments
from client.cost.estimate import Load
from client.cost.prices import PRICES, read_prices
from client.cost.table import bulleted
from shared.settings import settings

LOADS = "10,100,1000,10000,100000,1000000"

console = Console(width=None if Console().is_terminal else 118)

Mean = Annotated[float, typer.Option(min=0.1, max=600, metavar="S", help="Of speech, on average.")]
Work = Annotated[float | None, typer.Option(min=0.001, max=600, metavar="S", help="A turn, if measured.")]
Start = Annotated[float, typer.Option(min=0, max=600, metavar="S", help="A cold start.")]


def bench(
    turns: Annotated[str, typer.Option(metavar="N,N", help="Turns an hour, on average of a day.")] = LOADS,
    p95: Annotated[
        float | None, typer.Option(min=0.1, metavar="S", help="Recommend settings for this voice-to-voice.")
    ] = None,
    day: Annotated[
        str | None, typer.Option(metavar="flat|N,N", help="The load of each hour: 24 numbers.")
    ] = None,
    conversation: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Turns of one.")] = 6,
    utterance_s: Mean = 3.0,
    reply_s: Mean = 6.0,
    asr_s: Work = None,
    llm_s: Work = None,
    tts_s: Work = None,
    call_ms: Annotated[float, typer.Option(min=0, help="A call's way to its container.")] = CALL_S * 1000,
    engine_start_s: Start = ENGINE_START_S,
    boot_s: Start = BOOT_S,
    keep_max: Annotated[
        bool, typer.Option("--keep-max", help="Keep to the maximum of containers that is set.")
    ] = False,
    price_file: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="Prices in place of those that come along."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is left to chance.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Also draw them here, as PNG.")
    ] = None,
) -> None:
    """Simulate the two deployments under each load."""
    now, prices = settings(), read_prices(price_file or PRICES)
    deployments = priced_deployments(now, prices)
    times = Times(call_ms / 1000, engine_start_s, boot_s)
    profile = _day(day) if day else Day()
    loads = [
        Load(turns_per_hour, conversation, utterance_s, reply_s, asr_s, llm_s, tts_s, engine_start_s)
        for turns_per_hour in _loads(turns)
    ]
    as_set = [
        Case(deployment, with_measured(load, deployment), times, profile, now, seed)
        for load in loads
        for deployment in deployments
    ]
    outcomes, found = _simulated(as_set if keep_max else [raised(case) for case in as_set], p95)
    taken = [
        *assumptions(as_set[0].load, deployments[0], times, profile),
        *cost_assumptions.of_both(deployments[0], now, prices),
    ]
    console.print(outcomes_table(outcomes))
    console.print(containers_table(as_set, outcomes))
    console.print(bulleted(taken))
    recommended = list(zip(as_set, found, strict=False))  # none are found unless there is a goal
    for case, one in recommended:
        console.print("\n".join(recommendations(case, one)), highlight=False, soft_wrap=True)
    if json_file:
        document = {
            "prices": prices.model_dump(mode="json"),
            "seed": seed,
            "day": profile.weights,
            "load": asdict(as_set[0].load),
            "outcomes": [outcome_as_json(outcome) for outcome in outcomes],
            "recommendations": [recommendation_as_json(case, one) for case, one in recommended],
            "assumptions": taken,
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n")
        console.print(f"Wrote {json_file}")
    if folder:
        from bench.plots import write_plots  # needs the sound libraries, which the processes do without

        for path in write_plots(plots(outcomes), folder):
            console.print(f"Wrote {path}")


def _simulated(cases: Sequence[Case], goal_s: float | None) -> tuple[list[Outcome], list[Recommendation]]:
    """With a bar that shows how far it is."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        work = bar.add_task(f"{len(cases)} simulations", total=None)
        found = []
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(mp_context=spawning) as cores:
            runner = Runner(cores, lambda done, total: bar.update(work, completed=done, total=total))
            outcomes = runner.simulate(cases)
            for case in cases if goal_s else []:
                load = f"{case.load.turns_per_hour:,.10g} turns an hour, {case.deployment.name}"
                bar.update(work, description=f"Search: {load}")
                found.append(recommend(case, goal_s or 0.0, runner.simulate))
    return outcomes, found


def _loads(text: str) -> list[float]:
    try:
        loads = [float(one) for one in text.split(",")]
    except ValueError:
        loads = []
    if not loads or not all(0.01 <= one <= 1_000_000 for one in loads):
        raise typer.BadParameter("Turns an hour are numbers from 0.01 to 1000000, with commas between.")
    return loads


def _day(text: str) -> Day:
    try:
        return day_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


if __name__ == "__main__":
    typer.run(bench)
