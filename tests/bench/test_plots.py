"""What `make bench` measures, drawn."""

import json
from dataclasses import asdict
from pathlib import Path

from bench.plots import bench_plots, plots
from bench.talk import Talked
from bench.turns import Latency, Load
from client.metrics.metrics_file import ConversationStarted
from conversation.turn_record import VoiceToVoice
from tests.support.metrics_lines import turn

TURNS = [
    Latency("overlapped", 3, critical_path_s=1.5, first_audio_s=1.51, last_audio_s=4.04),
    Latency("sequential", 3, critical_path_s=1.5, first_audio_s=4.18, last_audio_s=4.18),
]
LOAD = [
    Load(
        design="hand-chained",
        sessions=50,
        delay_p50_ms=2.14,
        delay_p95_ms=3.7,
        cpu_ms_a_turn=3.0,
        turns_a_second=10.0,
        memory_peak_mib=57.0,
    )
]
TALK = [
    Talked(
        stages="whisper + rules + hibari",
        side="turn detection",
        asked=8,
        turns=8,
        silence_s=0.4,
        first_audio_s=0.3,
        voice_to_voice_s=0.554,
        voice_to_voice_p95_s=0.608,
        target_s=0.5,
        above_target_ms=14.0,
        above_target_max_ms=18.0,
        as_recorded_s=0.56,
        spoke_on=4,
        kept=12,
        dropped=0,
        dropped_pipeline_s=0.0,
    )
]


def test_each_plot_shows_the_figures_that_were_measured() -> None:
    turns, load, talk = bench_plots(TURNS, LOAD, TALK)
    assert turns.rows == [
        ("3 sentences, ours", "1.51 s", "4.04 s"),
        ("3 sentences, one after another", "4.18 s", "4.18 s"),
    ]
    assert load.rows == [("50 sessions, chained by hand", "2.1 ms", "3.7 ms")]
    assert talk.rows == [("whisper + rules + hibari, turn detection", "0.55 s", "0.61 s")]


def test_figures_and_conversations_that_were_written_are_drawn_later(tmp_path: Path) -> None:
    figures, metrics, folder = tmp_path / "bench.json", tmp_path / "metrics.jsonl", tmp_path / "plots"
    measured = {
        "turns": [asdict(row) for row in TURNS],
        "load": [asdict(row) for row in LOAD],
        "talk": [asdict(row) for row in TALK],
    }
    figures.write_text(json.dumps(measured))
    heard = VoiceToVoice(pause_us=1000, first_audio_us=2000, held_us=0, playback_us=0, total_us=3000)
    lines = (ConversationStarted(session_id="one"), turn(voice_to_voice=heard))
    metrics.write_text("".join(line.model_dump_json() + "\n" for line in lines))
    plots(folder, figures, metrics)
    assert {path.name for path in folder.iterdir()} == {"turns.png", "load.png", "talk.png", "waits.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
