"""The folder in which turns are kept."""

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import pytest

from client.errors import OutputNotWritten
from client.saved_turns import SavedTurns
from conversation.reply import SpokenTurn
from conversation.turn_record import TurnRecord
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.payloads import Mp3Audio
from shared.settings import Settings
from tests.support.waiting import until_async


def turn(*speech_s: float) -> SpokenTurn:
    return SpokenTurn(
        record=TurnRecord(session_id="session", began_us=0, ended_us=1, outcome="interrupted"),
        question=Mp3Audio(mp3=b"what was asked", sample_rate_hz=16_000, num_samples=1),
        transcript="wie spät ist es",
        reply="It is noon.",
        played="It …",
        speech=[Pcm(np.full(round(16_000 * length_s), 0.1, np.float32), 16_000) for length_s in speech_s],
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def save(folder: Path, *turns: SpokenTurn) -> list[str]:
    """Save turns as one conversation does. Returns its problems."""
    problems: list[str] = []
    async with SavedTurns(folder, problems.append) as saved:
        for turn in turns:
            saved.save(turn)
    return problems


async def test_a_turn_is_its_question_its_reply_in_one_file_and_its_texts(tmp_path: Path) -> None:
    saved = tmp_path / "new" / "folder"
    assert await save(saved, turn(0.5, 0.25)) == []
    assert names(saved) == ["turn-001-question.mp3", "turn-001-reply.wav", "turn-001.json"]
    assert (saved / "turn-001-question.mp3").read_bytes() == b"what was asked"
    assert decode_audio((saved / "turn-001-reply.wav").read_bytes(), Settings()).duration_s == 0.75
    written = json.loads((saved / "turn-001.json").read_text())
    texts = (written["transcript"], written["reply"], written["played"])
    assert texts == ("wie spät ist es", "It is noon.", "It …")
    assert written["record"]["outcome"] == "interrupted"


async def test_a_turn_without_a_reply_has_no_reply_file(tmp_path: Path) -> None:
    await save(tmp_path, turn())
    assert names(tmp_path) == ["turn-001-question.mp3", "turn-001.json"]


async def test_a_reply_that_goes_on_at_another_sample_rate_is_one_file(tmp_path: Path) -> None:
    changed = turn(0.5)
    changed.speech.append(Pcm(np.full(12_000, 0.1, np.float32), 24_000))
    assert await save(tmp_path, changed) == []
    assert decode_audio((tmp_path / "turn-001-reply.wav").read_bytes(), Settings()).duration_s == 1.0


async def test_numbers_go_on_where_an_earlier_conversation_ended(tmp_path: Path) -> None:
    kept = ("turn-002.json", "turn-0041-question.mp3", "turn-x.json", "turns-77.json", "notes.json")
    for name in kept:
        (tmp_path / name).write_text("kept")
    await save(tmp_path, turn(), turn())
    assert {"turn-042.json", "turn-043.json"} <= set(names(tmp_path))
    assert {(tmp_path / name).read_text() for name in kept} == {"kept"}


async def test_two_conversations_in_one_folder_overwrite_nothing(tmp_path: Path) -> None:
    problems: list[str] = []
    async with SavedTurns(tmp_path, problems.append) as one, SavedTurns(tmp_path, problems.append) as other:
        for _ in range(5):
            one.save(turn(0.1))
            other.save(turn(0.1))
    assert problems == []
    assert len(names(tmp_path)) == 3 * 10


async def test_saving_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A FIFO takes nothing before somebody reads it."""
    async with SavedTurns(tmp_path, print) as saved:
        os.mkfifo(tmp_path / "turn-001-reply.wav")
        saved.save(turn(1.0))
        await until_async(lambda: "turn-001-question.mp3" in names(tmp_path))
        reading = asyncio.create_task(asyncio.to_thread((tmp_path / "turn-001-reply.wav").read_bytes))
        assert decode_audio(await reading, Settings()).duration_s == 1.0


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritten, match=r"Folder .*file cannot be created: File exists"):
        SavedTurns(tmp_path / "file", print)


async def test_a_folder_that_is_gone_is_reported_and_the_next_turn_is_tried(tmp_path: Path) -> None:
    folder, problems = tmp_path / "folder", list[str]()
    async with SavedTurns(folder, problems.append) as saved:
        folder.rmdir()
        saved.save(turn())
        await until_async(lambda: problems)
        folder.mkdir()
        saved.save(turn())
    (problem,) = problems
    assert "cannot be saved in" in problem
    assert "No such file" in problem
    assert len(names(folder)) == 2
