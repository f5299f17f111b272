"""`s2s talk` as a person runs it, over one recorded conversation on the embedded engines."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from bench.sounds import HZ, example, recording
from services.asr.pocketsphinx import PocketsphinxASR
from shared.audio.decode import decode_audio
from shared.audio.pcm import resample
from shared.settings import Settings
from tests.support.s2s_command import s2s
from tests.support.talk_command import ESTIMATED_WITHIN_S, Talked, Talking

ASKED = ["My name is Peter.", "What is my name?", "What can you do?", "What is 6 times 7?"]
ANSWERED = {
    "my-name-is-peter": "Nice to meet you, Peter.",
    "what-is-my-name": "Your name is Peter.",
    "what-can-you-do": "I am the offline responder",
    "what-is-six-times-seven": "Six times seven is forty-two.",
}
BEGINS_S = dict(zip(ANSWERED, (0.5, 8.0, 15.5, 20.5), strict=True))
"""The last one speaks into the reply before, which takes nine seconds."""
INTERRUPTED = 2


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talked]:
    lines = [(at_s, example(name)) for name, at_s in BEGINS_S.items()]
    folder = tmp_path_factory.mktemp("talks") / "conversation"
    talking = Talking(folder, recording(lines, 23.0), "--save", "saved", at_once=True).start()
    try:
        yield talking.ended()
    finally:
        talking.given_up()


def question_ends_s(number: int) -> float:
    name = list(BEGINS_S)[number]
    return BEGINS_S[name] + example(name).duration_s


def test_each_question_is_answered_in_its_order_with_what_was_said_before(talked: Talked) -> None:
    assert (talked.exit_code, talked.stderr) == (0, "")
    said = [line for line in talked.stdout.splitlines() if line.startswith(("You ", "Reply "))]
    assert [line[7:] for line in said[::2]] == ASKED
    for line, answer in zip(said[1::2], ANSWERED.values(), strict=True):
        assert line.startswith(f"Reply  {answer}")
    assert [turn["outcome"] for turn in talked.turns] == ["completed"] * 2 + ["interrupted", "completed"]


def test_of_an_interrupted_reply_is_printed_what_was_played(talked: Talked) -> None:
    (told,) = (line for line in talked.stdout.splitlines() if "interrupted)" in line)
    assert told.endswith(" … (interrupted)")
    turn = talked.turns[INTERRUPTED]
    assert 0 < turn["played_us"] < turn["reply_us"]


@pytest.mark.needs("flite")
def test_the_output_holds_each_reply_where_it_was_said(talked: Talked) -> None:
    asr = PocketsphinxASR()
    asr.load()
    try:
        begin_s = [talked.first_audio_s(question_ends_s(number)) for number in range(len(BEGINS_S))]
        first_words = [resample(talked.played_between(at_s, at_s + 2.5), HZ) for at_s in begin_s]
        replies = [asr.transcribe(pcm) for pcm in first_words]
    finally:
        asr.close()
    for words, reply in zip(("nice to meet", "is peter", "responder", "forty two"), replies, strict=True):
        assert words in reply


def test_the_reply_falls_silent_for_who_interrupts_it(talked: Talked) -> None:
    interrupted_s = list(BEGINS_S.values())[INTERRUPTED + 1]
    assert talked.played_between(interrupted_s - 0.5, interrupted_s).samples.any()
    assert not talked.played_between(interrupted_s + 0.7, question_ends_s(INTERRUPTED + 1)).samples.any()


def test_voice_to_voice_is_what_the_two_recordings_say(talked: Talked) -> None:
    by_hand_s = []
    for number, turn in enumerate(talked.turns):
        by_hand_s.append(talked.first_audio_s(question_ends_s(number)) - question_ends_s(number))
        measured_s = turn["voice_to_voice"]["total_us"] / 1e6
        assert measured_s == pytest.approx(by_hand_s[-1], abs=ESTIMATED_WITHIN_S)
    turns, average, least, most, *_ = talked.table["Voice-to-voice"]
    assert turns == len(by_hand_s)
    for told_ms, expected_s in (
        (average, np.mean(by_hand_s)),
        (least, min(by_hand_s)),
        (most, max(by_hand_s)),
    ):
        assert told_ms / 1000 == pytest.approx(expected_s, abs=ESTIMATED_WITHIN_S)


def test_the_table_is_what_the_metrics_file_says(talked: Talked) -> None:
    completed = [turn for turn in talked.turns if turn["outcome"] == "completed"]
    busy = [one for turn in completed for one in turn["ledger"]["busy"]]
    durations_us = {
        stage.upper(): [one["busy_us"] for one in busy if one["stage"] == stage]
        for stage in ("asr", "llm", "tts")
    }
    spans = {"Pause": "pause_us", "Time to first audio": "first_audio_us", "Voice-to-voice": "total_us"}
    heard = {name: [turn["voice_to_voice"][span] for turn in talked.turns] for name, span in spans.items()}
    durations_us |= heard | {
        "Pipeline total": [turn["ledger"]["total_us"] for turn in completed],
        "End-to-end": [turn["end_to_end_us"] for turn in completed],
    }
    for name, us in durations_us.items():
        expected_ms = [value / 1000 for value in (np.mean(us), min(us), max(us), np.percentile(us, 50))]
        assert talked.table[name][0] == len(us)
        assert talked.table[name][1:5] == pytest.approx(expected_ms, abs=0.5)
    assert "4 turns: 3 completed, 1 interrupted" in talked.stdout


def test_the_report_prints_the_same_summary_again(talked: Talked) -> None:
    summary = talked.stdout[talked.stdout.index("Conversation of ") :]
    assert s2s("report", talked.folder / "metrics.jsonl").stdout == summary


def test_each_turn_is_kept_in_the_folder_with_its_sound_its_texts_and_its_times(talked: Talked) -> None:
    saved = talked.folder / "saved"
    numbers = [f"turn-{number:03d}" for number in range(1, 5)]
    kinds = ("-question.mp3", "-reply.wav", ".json")
    assert {path.name for path in saved.iterdir()} == {number + kind for number in numbers for kind in kinds}
    for number, turn, asked, (name, answer) in zip(
        numbers, talked.turns, ASKED, ANSWERED.items(), strict=True
    ):
        told = json.loads((saved / f"{number}.json").read_text())
        assert told["record"] == turn
        assert told["transcript"] == asked
        assert told["reply"].startswith(answer)
        question = (saved / f"{number}-question.mp3").read_bytes()
        assert decode_audio(question, Settings()).duration_s > example(name).duration_s
        reply = decode_audio((saved / f"{number}-reply.wav").read_bytes(), Settings())
        assert reply.duration_s == pytest.approx(turn["reply_us"] / 1e6, abs=1e-3)
