"""`python -m bench [--json FILE] [--plots FOLDER]`: all benches, as tables. It takes about twelve minutes."""

import datetime
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from bench.codec import codec_times
from bench.deployment import deployed_and_in_process
from bench.listening import listening_costs
from bench.machine import machine
from bench.plots import bench_plots, write_plots
from bench.tables import (
    codec_table,
    deployed_table,
    latency_table,
    listening_table,
    load_table,
    speculation_table,
    talk_table,
)
from bench.talk import Talked, embedded_talks, simulated_talks
from bench.turns import latencies, loads
from shared.errors import SpeechError

T = TypeVar("T")

console = Console(width=None if Console().is_terminal else 100)


def bench(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Also draw them, as PNG in this folder.")] = None,
) -> None:
    """Measure the codec, the turn, the orchestrator's own cost and the talk, side by side in one run."""
    console.print(f"[bold]{machine()}, {datetime.date.today()}[/]")
    with console.status("Codec …"):
        codec = codec_times()
    console.print(codec_table(codec))
    with console.status("Turns: six rounds of the slowest design's eleven seconds …"):
        turns = latencies()
    console.print(latency_table(turns))
    with console.status("Load: one to a hundred sessions …"):
        load = loads()
    console.print(load_table(load))
    with console.status("Deployed: six rounds through the local cloud …"):
        deployed = _in_fresh_process(deployed_and_in_process)
    console.print(deployed_table(deployed))
    with console.status("Talk: ten questions to stages of each speed, then eight to engines …"):
        talk = _in_fresh_process(simulated_talks) + _embedded_talks()
    console.print(talk_table(talk))
    console.print(speculation_table(talk))
    with console.status("Listening …"):
        listening = _in_fresh_process(listening_costs)
    console.print(listening_table(listening))
    if json_file:
        report = {
            "machine": machine(),
            "date": str(datetime.date.today()),
            "codec": [asdict(row) for row in codec],
            "turns": [asdict(row) for row in turns],
            "load": [asdict(row) for row in load],
            "deployed": [asdict(row) for row in deployed],
            "talk": [asdict(row) for row in talk],
            "listening": [asdict(row) for row in listening],
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"Wrote {json_file}")
    if plots:
        for path in write_plots(bench_plots(turns, load, talk), plots):
            console.print(f"Wrote {path}")


def _embedded_talks() -> list[Talked]:
    try:
        return _in_fresh_process(embedded_talks)
    except SpeechError as error:
        console.print(f"No talk over embedded engines: {error}")
        return []


def _in_fresh_process(measure: Callable[[], T]) -> T:
    """Without the threads and the memory that earlier benches leave behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(measure).result()


if __name__ == "__main__":
    typer.run(bench)
