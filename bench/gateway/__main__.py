"""`python -m bench.gateway [--soak-min MINUTES] [--json FILE]`: what the gateway adds to a turn and what a
session costs, at 1 to 100 sessions and in silence; or a soak of 20 sessions. The first takes five minutes."""

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.gateway.in_process import voice_to_voice_s
from bench.gateway.load import Load, SilentLoad, Soak, loads, percentiles, silent_loads, soak
from bench.gateway.spoken import PHASES, QUESTIONS
from bench.machine import machine
from bench.tables import figures_table

IN_PROCESS_TURNS = len(QUESTIONS) * PHASES
SOAK_SESSIONS = 20

console = Console(width=None if Console().is_terminal else 100)


def bench(
    soak_min: Annotated[float, typer.Option(help="Talk for so many minutes with 20 sessions instead.")] = 0.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure the gateway over simulated stages."""
    console.print(f"[bold]{machine()}, {datetime.date.today()}[/]")
    if soak_min:
        with console.status(f"Soak: {SOAK_SESSIONS} sessions for {soak_min:g} minutes …"):
            soaked = soak(SOAK_SESSIONS, soak_min * 60)
        rows: list[Load | SilentLoad | Soak] = [soaked]
        console.print(_soak_table(soaked))
    else:
        with console.status("The turn without a gateway …"):
            in_process_s = voice_to_voice_s(IN_PROCESS_TURNS)
        with console.status("Sessions: one to a hundred …"):
            loaded = loads(in_process_s)
        console.print(_load_table(in_process_s, loaded))
        with console.status("Sessions in which nobody speaks …"):
            silent = silent_loads()
        console.print(_silent_table(silent))
        rows = [*loaded, *silent]
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        console.print(f"Wrote {json_file}")


def _load_table(in_process_s: list[float], rows: list[Load]) -> Table:
    p50_s, p95_s = percentiles(in_process_s)
    table = figures_table(
        f"Voice-to-voice through the gateway; the same turns in process: {p50_s:.3f} s, p95 {p95_s:.3f} s",
        "sessions", "turns", "voice-to-voice", "above p50", "p95", "of one core", "memory", "a session",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            str(row.sessions),
            str(row.turns),
            f"{row.voice_to_voice_s:.3f} s",
            f"{row.above_p50_ms:.0f} ms",
            f"{row.above_p95_ms:.0f} ms",
            f"{row.core_percent_a_session:.1f} % each",
            f"{row.memory_mib:.0f} MiB",
            f"{row.memory_mib_a_session:.1f} MiB",
        )
    return table


def _silent_table(rows: list[SilentLoad]) -> Table:
    table = figures_table("Sessions in which nobody speaks", "sessions", "of one core", "memory a session")
    for row in rows:
        percent, memory = f"{row.core_percent_a_session:.2f} % each", f"{row.memory_mib_a_session:.2f} MiB"
        table.add_row(str(row.sessions), percent, memory)
    return table


def _soak_table(row: Soak) -> Table:
    table = figures_table(
        f"{row.sessions} sessions for {row.duration_s / 60:.1f} minutes: {row.turns} turns",
        "", "first quarter", "last quarter",
    )  # fmt: skip
    table.add_row("memory", f"{row.first_memory_mib:.0f} MiB", f"{row.last_memory_mib:.0f} MiB")
    table.add_row(
        "voice-to-voice", f"{row.first_voice_to_voice_s:.3f} s", f"{row.last_voice_to_voice_s:.3f} s"
    )
    return table


if __name__ == "__main__":
    typer.run(bench)
