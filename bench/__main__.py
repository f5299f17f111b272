"""`python -m bench [--json FILE]`: all benches, printed as tables. It takes about six minutes."""

import datetime
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.codec import CodecTime, codec_times
from bench.deployment import Played, deployed_and_in_process
from bench.turns import Latency, Load, latencies, loads

console = Console(width=None if Console().is_terminal else 100)


def bench(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure the codec, the turn and the orchestrator's own cost, side by side in one run."""
    console.print(f"[bold]{_machine()}, {datetime.date.today()}[/]")
    with console.status("Codec …"):
        codec = codec_times()
    console.print(_codec_table(codec))
    with console.status("Turns: six rounds of the slowest design's eleven seconds …"):
        turns = latencies()
    console.print(_latency_table(turns))
    with console.status("Load: one to a hundred sessions …"):
        load = loads()
    console.print(_load_table(load))
    with console.status("Deployed: six rounds through a local control plane …"):
        deployed = deployed_and_in_process()
    console.print(_deployed_table(deployed))
    if json_file:
        report = {
            "machine": _machine(),
            "date": str(datetime.date.today()),
            "codec": [asdict(row) for row in codec],
            "turns": [asdict(row) for row in turns],
            "load": [asdict(row) for row in load],
            "deployed": [asdict(row) for row in deployed],
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"Wrote {json_file}")


def _machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _codec_table(rows: list[CodecTime]) -> Table:
    table = _table(
        "Codec: 10 s of speech, MP3 64 kbps (medians, ms)",
        "rate", "encode", "decode", "pydub+ffmpeg encode", "decode", "round trip",
    )  # fmt: skip
    for row in rows:
        theirs = [row.pydub_encode_ms, row.pydub_decode_ms]
        table.add_row(
            f"{row.sample_rate_hz} Hz",
            f"{row.encode_ms:.0f}",
            f"{row.decode_ms:.0f}",
            *("needs ffmpeg" if ms is None else f"{ms:.0f}" for ms in theirs),
            "-" if row.speed_up is None else f"{row.speed_up:.1f}× faster",
        )
    return table


def _latency_table(rows: list[Latency]) -> Table:
    table = _table(
        "Turns over simulated stages (medians)",
        "sentences", "design", "first audio", "critical path", "ratio", "delay", "last audio",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            str(row.sentences),
            row.design,
            f"{row.first_audio_s * 1000:.0f} ms",
            f"{row.critical_path_s * 1000:.0f} ms",
            f"{row.first_audio_s / row.critical_path_s:.3f}",
            f"{(row.first_audio_s - row.critical_path_s) * 1000:.1f} ms",
            f"{row.last_audio_s:.2f} s",
            end_section=row.design == "sequential",
        )
    return table


def _load_table(rows: list[Load]) -> Table:
    table = _table(
        "Sessions at once in one orchestrator's process, replies of 3 sentences",
        "sessions", "design", "delay p50", "p95", "CPU a turn", "turns/s", "memory", "each further session",
    )  # fmt: skip
    alone_mib = {row.design: row.memory_peak_mib for row in rows if row.sessions == 1}
    for row in rows:
        grown_kib = (row.memory_peak_mib - alone_mib[row.design]) * 1024
        table.add_row(
            str(row.sessions),
            row.design,
            f"{row.delay_p50_ms:.1f} ms",
            f"{row.delay_p95_ms:.1f} ms",
            f"{row.cpu_ms_a_turn:.1f} ms",
            f"{row.turns_a_second:.1f}",
            f"{row.memory_peak_mib:.0f} MiB",
            "-" if row.sessions == 1 else f"{grown_kib / (row.sessions - 1):.0f} KiB",
            end_section=row.design == "hand-chained",
        )
    return table


def _deployed_table(rows: list[Played]) -> Table:
    here = rows[0]
    table = _table(
        "A turn of three sentences on timed engines, warm (local control plane, not Modal; medians)",
        "where", "first audio", "ratio", "total", "ratio",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.where,
            f"{row.first_audio_s * 1000:.0f} ms",
            f"{row.first_audio_s / here.first_audio_s:.3f}",
            f"{row.total_s * 1000:.0f} ms",
            f"{row.total_s / here.total_s:.3f}",
        )
    return table


if __name__ == "__main__":
    typer.run(bench)
