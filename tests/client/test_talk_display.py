"""What a person sees of a conversation, in a terminal and in a file."""

import io
from dataclasses import dataclass, field

import numpy as np
import pytest
from rich.console import Console

from client.display.talk_display import METER_CELLS, TalkDisplay, meter
from conversation.conversation import Phase
from conversation.reply import SpokenTurn
from conversation.turn_record import TurnOutcome, TurnRecord, VoiceToVoice
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.ledger import Ledger
from shared.payloads import Mp3Audio
from shared.turn import (
    Failure,
    ReplyDelta,
    SpeechChunk,
    StageWaiting,
    TranscriptReady,
    TurnEvent,
    TurnStarted,
)
from tests.support.terminal_screen import COLUMNS, TerminalScreen

CHUNK = SpeechChunk(index=0, segment=0, text="It is four.", audio=Pcm(np.zeros(160, np.float32), 16_000))
REPLY = ReplyDelta(text="It is "), CHUNK, ReplyDelta(text="four.")
OVERLOADED = Failure(kind="overloaded", stage=Stage.ASR, retryable=True, message="Too much at once.")
NO_KEY = Failure(kind="misconfigured", stage=Stage.LLM, retryable=False, message="Set OPENAI_API_KEY.")


@dataclass
class Shown:
    """A display, and what it has written."""

    terminal: bool
    file: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        console = Console(file=self.file, force_terminal=self.terminal, width=COLUMNS, color_system=None)
        self.display = TalkDisplay(console, console)

    def emit(self, *events: TurnEvent) -> None:
        for event in events:
            self.display.event(event)

    @property
    def text(self) -> str:
        return self.file.getvalue()

    def last_shown(self) -> str:
        """The last line that was to be seen before all that goes on was hidden."""
        before = [lines for lines in self.screen().seen if lines]
        return before[-1][-1]

    def screen(self) -> TerminalScreen:
        """The terminal, once nothing more is going on; `has_shown` tells what was."""
        self.display.close()
        screen = TerminalScreen()
        for line in self.text.splitlines(keepends=True):
            screen.write(line.replace("\n", "\r\n").encode())
        return screen


@pytest.fixture
def terminal() -> Shown:
    return Shown(terminal=True)


@pytest.fixture
def piped() -> Shown:
    return Shown(terminal=False)


def turn(outcome: TurnOutcome, played: str = "", transcript: str = "", **record: object) -> SpokenTurn:
    return SpokenTurn(
        record=TurnRecord.model_validate(
            {"session_id": "s", "began_us": 0, "ended_us": 1, "outcome": outcome, **record}
        ),
        question=Mp3Audio(mp3=b"x", sample_rate_hz=16_000, num_samples=1),
        transcript=transcript,
        reply="",
        played=played,
        speech=[],
    )


def completed(played: str) -> SpokenTurn:
    spans = VoiceToVoice(
        pause_us=250_000, first_audio_us=700_000, held_us=50_000, playback_us=500, total_us=1_000_500
    )
    ledger = Ledger(spans=(), total_us=0)
    return turn("completed", played, voice_to_voice=spans, ledger=ledger, end_to_end_us=900_000)


def test_it_says_when_it_listens_hears_thinks_speaks_and_pauses(terminal: Shown) -> None:
    display = terminal.display
    display.phase(Phase.LISTENING, 0.0)
    assert "Listening" in terminal.last_shown()
    display.phase(Phase.HEARING, 0.5)
    assert "Hearing" in terminal.last_shown()
    display.phase(Phase.THINKING, 0.0)
    assert "Thinking" in terminal.last_shown()
    terminal.emit(*REPLY)
    display.phase(Phase.SPEAKING, 0.0)
    assert "Speaking" in terminal.last_shown()
    display.phase(Phase.PAUSED, 0.5)
    assert "Paused" in terminal.last_shown()


def test_what_is_being_loaded_is_said_until_it_is_there(terminal: Shown) -> None:
    terminal.display.waiting("Loading ears, voice")
    assert "Loading ears, voice" in terminal.last_shown()
    terminal.display.waiting("")
    assert terminal.screen().lines == []


def test_a_cold_start_is_said_with_what_is_waited_for_until_it_is_over(terminal: Shown) -> None:
    display = terminal.display
    display.phase(Phase.LISTENING, 0.0)
    display.waiting("Waiting for the orchestrator to start")
    display.phase(Phase.HEARING, 0.5)
    assert "Hearing" in terminal.last_shown()
    display.phase(Phase.THINKING, 0.0)
    assert "Waiting for the orchestrator to start" in terminal.last_shown()
    terminal.emit(TurnStarted(), StageWaiting(stage=Stage.TTS))
    display.phase(Phase.THINKING, 0.0)
    assert "Waiting for the TTS to start" in terminal.last_shown()
    terminal.emit(CHUNK)
    display.phase(Phase.SPEAKING, 0.0)
    assert "Speaking" in terminal.last_shown()


def test_the_reply_stands_on_the_terminal_as_it_comes_and_once_when_it_is_over(terminal: Shown) -> None:
    display = terminal.display
    terminal.emit(TranscriptReady(text="what is two plus two"), *REPLY)
    display.phase(Phase.SPEAKING, 0.0)
    assert terminal.screen().has_shown("Reply  It is four.")
    display.turn_over(completed("It is four."))
    display.phase(Phase.LISTENING, 0.0)
    assert terminal.screen().lines == [
        "You    what is two plus two",
        "Reply  It is four.",
        "       first audio 1,000 ms after you stopped",
    ]


@pytest.mark.parametrize("between", [1, 5])
def test_what_goes_on_takes_no_line_away_of_what_was_said(terminal: Shown, between: int) -> None:
    words = "These words of a long reply can still be read when it is over. " * 3
    for number in (1, 2):
        terminal.emit(TranscriptReady(text=f"question {number}"), ReplyDelta(text=words), CHUNK)
        for _ in range(between):
            terminal.display.phase(Phase.SPEAKING, 0.1)
            terminal.display.remark("By the way.")
        terminal.display.turn_over(completed(words))
        terminal.display.phase(Phase.LISTENING, 0.2)
    said = " ".join(" ".join(terminal.screen().lines).split())
    remarks = "By the way. " * between
    for number in (1, 2):
        assert f"question {number} {remarks}Reply {words}first audio" in said


def test_a_question_can_change_until_its_reply_is_audible(terminal: Shown) -> None:
    display = terminal.display
    terminal.emit(TranscriptReady(text="what is"), ReplyDelta(text="What is what?"))
    display.phase(Phase.THINKING, 0.0)
    assert terminal.screen().has_shown("what is")
    display.phase(Phase.HEARING, 0.5)
    terminal.emit(TranscriptReady(text="what is two plus two"), *REPLY)
    display.phase(Phase.SPEAKING, 0.0)
    display.turn_over(completed("It is four."))
    assert terminal.screen().lines[:2] == ["You    what is two plus two", "Reply  It is four."]


def test_a_question_of_which_no_reply_was_played_is_printed(piped: Shown) -> None:
    piped.display.turn_over(turn("interrupted", transcript="the first part of a monologue"))
    assert piped.text.splitlines() == ["You    the first part of a monologue"]


def test_of_a_long_reply_under_way_the_newest_words_are_shown(terminal: Shown) -> None:
    terminal.emit(ReplyDelta(text="word " * 1000 + "newest"), CHUNK)
    terminal.display.phase(Phase.SPEAKING, 0.0)
    screen = terminal.screen()
    assert screen.has_shown("newest")
    assert screen.has_shown("Speaking")


def test_of_an_interrupted_reply_is_printed_what_was_heard(piped: Shown) -> None:
    piped.emit(TranscriptReady(text="tell me a story"), ReplyDelta(text="Once upon a time there was"), CHUNK)
    piped.display.turn_over(turn("interrupted", "Once upon …", "tell me a story"))
    assert piped.text.splitlines() == ["You    tell me a story", "Reply  Once upon … (interrupted)"]


def test_a_failed_turn_says_why_and_whether_to_say_it_again(piped: Shown) -> None:
    piped.display.turn_over(turn("failed", failure=OVERLOADED))
    piped.display.turn_over(turn("failed", failure=NO_KEY))
    assert piped.text.splitlines() == [f"{OVERLOADED.message} Say it again.", NO_KEY.message]


def test_an_utterance_in_which_no_word_was_understood_is_told(piped: Shown) -> None:
    piped.display.turn_over(turn("no_speech"))
    assert piped.text == "       No words were recognized.\n"


def test_a_file_gets_whole_lines_and_nothing_else(piped: Shown) -> None:
    display = piped.display
    display.waiting("Loading ears")
    display.phase(Phase.LISTENING, 0.1)
    display.phase(Phase.HEARING, 0.9)
    piped.emit(TurnStarted(), TranscriptReady(text="what is two plus two"), REPLY[0])
    display.phase(Phase.SPEAKING, 0.1)
    display.problem("The TTS is not deployed. " + "What a long line. " * 10)
    piped.emit(*REPLY[1:])
    display.turn_over(completed("It is four."))
    display.close()
    assert piped.text.splitlines() == [
        "You    what is two plus two",
        "The TTS is not deployed. " + "What a long line. " * 10,
        "Reply  It is four.",
        "       first audio 1,000 ms after you stopped",
    ]


@pytest.mark.parametrize("text", ["four\x1b[2J\x1b]0;title\x07", "fo\x08ur", "four\r"])
def test_what_a_model_says_cannot_move_the_cursor(piped: Shown, text: str) -> None:
    piped.emit(TranscriptReady(text=text), ReplyDelta(text=text))
    piped.display.turn_over(completed(text))
    assert not set(piped.text) & set("\x1b\x07\x08\r")


@pytest.mark.parametrize(
    ("level", "cells"), [(0.0, 0), (1e-9, 0), (0.001, 0), (0.0316, 6), (1.0, METER_CELLS), (9.0, METER_CELLS)]
)
def test_the_meter_shows_decibels_from_60_below_full_scale_up_to_it(level: float, cells: int) -> None:
    assert meter(level).plain == "█" * cells + "░" * (METER_CELLS - cells)
