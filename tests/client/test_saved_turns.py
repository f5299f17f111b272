"""The folder in which turns are kept."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.errors import OutputNotWritten
from client.metrics.turn_record import TurnRecord
from client.saved_turns import SavedTurns
from conversation.conversation import SpokenTurn
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.payloads import Mp3Audio
from shared.settings import Settings


def turn(*speech_s: float) -> SpokenTurn:
    return SpokenTurn(
        record=TurnRecord(session_id="session", began_us=0, ended_us=1, outcome="interrupted"),
        question=Mp3Audio(mp3=b"what was asked", sample_rate_hz=16_000, num_samples=1),
        transcript="wie spät ist es",
        reply="It is noon.",
        heard="It …",
        speech=[Pcm(np.full(round(16_000 * length_s), 0.1, np.float32), 16_000) for length_s in speech_s],
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_turn_is_its_question_its_reply_in_one_file_and_its_texts(tmp_path: Path) -> None:
    SavedTurns(tmp_path / "new" / "folder").save(turn(0.5, 0.25))
    saved = tmp_path / "new" / "folder"
    assert names(saved) == ["turn-001-question.mp3", "turn-001-reply.wav", "turn-001.json"]
    assert (saved / "turn-001-question.mp3").read_bytes() == b"what was asked"
    assert decode_audio((saved / "turn-001-reply.wav").read_bytes(), Settings()).duration_s == 0.75
    told = json.loads((saved / "turn-001.json").read_text())
    assert (told["transcript"], told["reply"], told["heard"]) == ("wie spät ist es", "It is noon.", "It …")
    assert told["record"]["outcome"] == "interrupted"


def test_a_turn_without_a_reply_has_no_reply_file(tmp_path: Path) -> None:
    SavedTurns(tmp_path).save(turn())
    assert names(tmp_path) == ["turn-001-question.mp3", "turn-001.json"]


def test_numbers_go_on_where_an_earlier_session_ended(tmp_path: Path) -> None:
    for name in ("turn-002.json", "turn-0041.json", "turn-x.json", "turn-7.txt", "notes.json"):
        (tmp_path / name).write_text("kept")
    saved = SavedTurns(tmp_path)
    saved.save(turn())
    saved.save(turn())
    assert {"turn-042.json", "turn-043.json"} <= set(names(tmp_path))
    assert (tmp_path / "turn-002.json").read_text() == "kept"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritten, match=r"Folder .*file cannot be made: File exists"):
        SavedTurns(tmp_path / "file")


def test_a_folder_that_is_gone_is_told_and_another_turn_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    saved = SavedTurns(folder)
    folder.rmdir()
    with pytest.raises(OutputNotWritten, match=r"cannot be saved in .*: No such file"):
        saved.save(turn())
    folder.mkdir()
    saved.save(turn())
    assert len(names(folder)) == 2
