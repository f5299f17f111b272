"""The benches' figures as tables."""

from rich.table import Table

from bench.codec import CodecTime
from bench.deployment import Played
from bench.listening import ListeningCost
from bench.talk import Talked
from bench.turns import Latency, Load


def codec_table(rows: list[CodecTime]) -> Table:
    """Codec against codec."""
    table = figures_table(
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


def latency_table(rows: list[Latency]) -> Table:
    """Design by design."""
    table = figures_table(
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


def load_table(rows: list[Load]) -> Table:
    """By the number of sessions."""
    table = figures_table(
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


def deployed_table(rows: list[Played]) -> Table:
    """Where a turn was played."""
    here = rows[0]
    table = figures_table(
        "A turn of three sentences on timed engines, warm (local cloud, not Modal; medians)",
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


def talk_table(rows: list[Talked]) -> Table:
    """With speculation and without, and with turn detection."""
    table = figures_table(
        "From the end of a question to the first sound of its answer. Target: the longer of the silence\n"
        "that ended the turn, and that before a speculation with the pipeline's time to first audio",
        "stages", "side", "turns", "silence", "first\naudio", "p50", "p95", "target", "above\np50", "max",
        "p50 as\nrecorded",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.stages,
            row.side,
            f"{row.turns} of {row.asked}",
            *(f"{seconds:.2f} s" for seconds in (row.silence_s, row.first_audio_s, row.voice_to_voice_s)),
            *(f"{seconds:.2f} s" for seconds in (row.voice_to_voice_p95_s, row.target_s)),
            *(f"{ms:.0f} ms" for ms in (row.above_target_ms, row.above_target_max_ms)),
            f"{row.as_recorded_s:.2f} s",
            end_section=row.side == "turn detection",
        )
    return table


def speculation_table(rows: list[Talked]) -> Table:
    """What was kept and dropped, and what that cost."""
    table = figures_table(
        "Speculations: every other question has a pause in it",
        "stages", "side", "kept", "dropped", "pipeline's time in vain", "turns ended too soon",
    )  # fmt: skip
    for row in rows:
        if row.side != "no speculation":
            table.add_row(
                row.stages,
                row.side,
                str(row.kept),
                str(row.dropped),
                f"{row.dropped_pipeline_s:.1f} s",
                str(row.spoke_on),
            )
    return table


def listening_table(rows: list[ListeningCost]) -> Table:
    """Without the echo canceller and with it."""
    table = figures_table(
        "Listening, nobody being answered: CPU of all threads",
        "hears", "what listens", "echo canceller", "a minute of sound", "of one core",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.hears,
            "whole loop in real time" if row.in_real_time else "listener alone",
            "on" if row.cancels_echo else "off",
            f"{row.cpu_s_a_minute:.1f} s",
            f"{row.core_percent:.1f} %",
            end_section=row.in_real_time,
        )
    return table


def figures_table(title: str, *headings: str) -> Table:
    """A table without rows, its columns for figures."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
