"""`python -m bench.quality [--json FILE]`: how right it is, in tables. It measures what is on this machine
and names the rest, and takes about five minutes."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from bench.machine import machine
from bench.recognition import (
    LIST,
    OFFICE,
    Recognition,
    choices,
    conditions,
    example_speech,
    human_speech,
    recognition_table,
    recognized,
)
from bench.turn_detection import MARKS, TurnEnds, marked_recordings, turn_ends, turn_ends_table
from bench.voices import Voice, measured, voices, voices_table
from services.weights import are_fetched, fetch
from services.weights.pinned import SMART_TURN, WHISPER_BASE
from shared.errors import SpeechError

console = Console(width=None if Console().is_terminal else 100)


def quality(
    recordings: Annotated[
        Path | None, typer.Option(envvar="S2S_RECORDINGS", help="Folder of recordings of people.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure the word error rate of every ASR engine, how well every voice is understood, and how well ends
    of turns are told from pauses."""
    console.print(f"[bold]{machine()}, {date.today()}[/]")
    heard_by_base = _base_is_there()
    recognition = _recognition(recordings)
    console.print(recognition_table(recognition))
    spoken = _voices() if heard_by_base else []
    if spoken:
        console.print(voices_table(spoken))
    turns = _turn_ends(recordings)
    if turns:
        console.print(turn_ends_table(turns))
    if json_file:
        report = {
            "machine": machine(),
            "date": str(date.today()),
            "recognition": [asdict(row) for row in recognition],
            "voices": [asdict(row) for row in spoken],
            "turn_ends": [asdict(row) for row in turns],
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"Wrote {json_file}")


def _recognition(folder: Path | None) -> list[Recognition]:
    engines, lacking = choices()
    for what in lacking:
        console.print(f"Not measured: {what}", highlight=False)
    speech = {"examples (flite)": example_speech()}
    if people := human_speech(folder):
        speech = {"people": people, **speech}
    else:
        _say_what_lacks("speech of people", LIST)
    altered = conditions(folder)
    if len(altered) < 3:
        console.print(
            f"Not measured: speech in noise, for which {OFFICE} is needed in the folder RECORDINGS."
        )
    steps = sum(map(len, speech.values())) * len(altered)
    rows = []
    with Progress(console=console, transient=True) as progress:
        for choice in engines:
            task = progress.add_task(f"ASR: {choice.name}", total=steps)
            rows += recognized(choice, speech, altered, lambda task=task: progress.advance(task))  # type: ignore[misc]
    return rows


def _base_is_there() -> bool:
    try:
        with console.status("Fetching Whisper base …"):
            fetch(WHISPER_BASE)
    except SpeechError as error:
        console.print(f"Not measured: voices, which Whisper base transcribes. {error}")
        return False
    return True


def _voices() -> list[Voice]:
    with Progress(console=console, transient=True) as progress:
        return [measured(name) for name in progress.track(voices(), description="Voices")]


def _turn_ends(folder: Path | None) -> list[TurnEnds]:
    if not folder or not marked_recordings(folder):
        _say_what_lacks("ends of turns", MARKS)
        return []
    if not are_fetched(SMART_TURN):
        console.print("Not measured: ends of turns, for which the model is needed. Run: s2s fetch-weights")
        return []
    with console.status("Ends of turns …"):
        return turn_ends(folder)


def _say_what_lacks(what: str, listed: Path) -> None:
    console.print(
        f"Not measured: {what}. bench/{listed.name} says which recordings the folder RECORDINGS needs."
    )


if __name__ == "__main__":
    typer.run(quality)
