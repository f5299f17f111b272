"""`s2s talk` as a person has it: a process with a microphone and a loudspeaker, over the embedded engines.

The conversations go on side by side; what a test asks about is looked up in what came of them.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

import pytest

from bench.sounds import HZ, example
from client.errors import ExitCode
from services.asr.pocketsphinx import PocketsphinxASR
from shared.audio.pcm import Pcm
from tests.support.pulse_audio import PulseAudio
from tests.support.talk_on_devices import Talked, TalkOnDevices

pytestmark = [pytest.mark.devices, pytest.mark.needs("flite", "portaudio", "pulseaudio")]

SHORT, SHORT_REPLY = "what-is-two-plus-two", "Two plus two is four."
QUESTIONS = [
    (SHORT, SHORT_REPLY),
    ("my-name-is-peter", "Nice to meet you, Peter."),
    ("what-is-my-name", "Your name is Peter."),
    ("what-is-six-times-seven", "Six times seven is forty-two."),
    ("hello", "Hello, Peter."),
    (SHORT, SHORT_REPLY),
    ("what-is-my-name", "Your name is Peter."),
    (SHORT, SHORT_REPLY),
]
"""What is asked one after the other, and how the reply begins."""
LONG = "what-can-you-do"
LONG_REPLY = "I am the offline responder, a small program without a language model."
MM_HM = Pcm(example("hello").samples[: round(0.3 * HZ)].copy(), HZ)
HEARD_FIRST_S = 1.0
SILENT_WITHIN_S = 0.75
"""From the first sound of what is said to silence, 0.15 s of it in the loudspeaker's buffer. It took 0.27 to
0.45 s; an interruption without a pause takes 0.8 s."""
MAX_UNDERRUNS = 2
MAX_GROWTH_BYTES = 16 * 2**20


def in_a_row(talk: TalkOnDevices) -> None:
    """Questions, an interruption, an "mm-hm", and Ctrl-C into a reply."""
    for question, _ in QUESTIONS:
        talk.ask(question)
        talk.note_memory()
    talk.ask_and_hear(LONG, HEARD_FIRST_S)
    talk.note("interruption")
    talk.interrupt(SHORT)
    talk.ask_and_hear(LONG, HEARD_FIRST_S)
    talk.note("mm-hm")
    talk.say_sound(MM_HM)
    talk.hear_out()
    talk.note_memory()
    talk.ask_and_hear(LONG, HEARD_FIRST_S)
    talk.note("ctrl-c")
    talk.hang_up()


def in_a_room(talk: TalkOnDevices) -> None:
    """The microphone hears the loudspeaker."""
    talk.server.loop_speaker_into_microphone()
    for question, _ in QUESTIONS[:3]:
        talk.ask(question)
    talk.ask_and_hear(LONG, HEARD_FIRST_S)
    talk.interrupt(SHORT, attempts=3)  # one of ten may not: tests/client/test_echo_canceller.py
    talk.hang_up()


def unplugged(talk: TalkOnDevices) -> None:
    """Microphone and loudspeaker go away in the middle of a reply."""
    talk.ask_and_hear(LONG, HEARD_FIRST_S)
    talk.server.unplug()


Script = Callable[[TalkOnDevices], None]
Conversations = dict[Script, Future[Talked]]


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversations]:
    """All of them, two at a time."""

    def have(script: Script, attempts: int = 1) -> Talked:
        with PulseAudio() as server, TalkOnDevices(server, tmp_path_factory.mktemp("talk")) as talk:
            script(talk)
            talked = talk.outcome()
        return have(script, attempts - 1) if talked.ran_dry and attempts > 1 else talked

    with ThreadPoolExecutor(2) as pool:
        yield {
            in_a_row: pool.submit(have, in_a_row),
            unplugged: pool.submit(have, unplugged),
            in_a_room: pool.submit(have, in_a_room, attempts=3),  # a gap is a change of the echo's delay
        }


@pytest.fixture(scope="module")
def row(conversations: Conversations) -> Talked:
    return conversations[in_a_row].result()


@pytest.fixture(scope="module")
def recogniser() -> Iterator[PocketsphinxASR]:
    engine = PocketsphinxASR()
    engine.load()
    yield engine
    engine.close()


def test_ten_questions_in_a_row_are_answered_right(row: Talked) -> None:
    answered = [row.texts(turn)["reply"] for turn in row.completed]
    expected = [*(reply for _, reply in QUESTIONS), SHORT_REPLY, LONG_REPLY]
    assert len(expected) == 10
    for reply, beginning in zip(answered, expected, strict=True):
        assert reply.startswith(beginning), row.output


def test_what_the_loudspeaker_says_is_the_answer(row: Talked, recogniser: PocketsphinxASR) -> None:
    said = row.speaker_between(row.moments["said"][0], row.moments["said"][1])
    assert "four" in recogniser.transcribe(Pcm(said, HZ)).split()


def test_no_sound_of_a_reply_is_lost_over_ten_turns(row: Talked) -> None:
    assert sum(record.underruns for record in row.turns) <= MAX_UNDERRUNS
    for turn in row.completed:
        assert row.lost_pieces(turn) <= MAX_UNDERRUNS, row.texts(turn)
    assert row.microphone_lost_us == 0
    assert all(row.turns[turn].played_us == row.turns[turn].reply_us for turn in row.completed)


def test_ten_turns_leave_no_memory_behind_and_do_not_get_slower(row: Talked) -> None:
    assert row.memory_bytes[-1] - row.memory_bytes[1] <= MAX_GROWTH_BYTES
    spans_s = [spans.total_us / 1e6 for record in row.turns if (spans := record.voice_to_voice)]
    assert median(spans_s[-4:]) <= median(spans_s[1:5]) + 1.0


def test_voice_to_voice_is_what_the_recordings_say(row: Talked) -> None:
    """Measured: 0.02 to 0.06 s less, which is what a sound takes from the microphone to the process."""
    differences_s = []
    for turn, said_at_s in enumerate(row.moments["said"][: len(QUESTIONS)]):
        spans = row.turns[turn].voice_to_voice
        assert spans
        differences_s.append(row.voice_to_voice_s(said_at_s) - spans.total_us / 1e6)
    assert -0.05 < median(differences_s) < 0.3


def test_speech_stops_a_reply_and_is_answered(row: Talked, recogniser: PocketsphinxASR) -> None:
    turn = len(QUESTIONS)
    assert row.turns[turn].outcome == "interrupted"
    [at_s] = row.moments["interruption"]
    began_s = row.microphone.first_sound_at_s(at_s)
    assert began_s
    silence_s = example(SHORT).duration_s + 0.3  # no answer is there before the question has ended
    last_sound_s = row.speaker.last_sound_at_s(began_s, began_s + silence_s)
    assert last_sound_s is None or last_sound_s - began_s < SILENT_WITHIN_S
    heard = row.texts(turn)["played"]
    assert LONG_REPLY.startswith(heard.removesuffix(" …"))
    answer = row.speaker_between(began_s + silence_s, row.moments["said"][turn + 2])
    assert "four" in recogniser.transcribe(Pcm(answer, HZ)).split()


def test_a_short_sound_pauses_a_reply_and_no_word_of_it_is_lost(row: Talked) -> None:
    turn = len(QUESTIONS) + 2
    assert row.turns[turn].outcome == "completed"
    [at_s] = row.moments["mm-hm"]
    began_s = row.microphone.first_sound_at_s(at_s)
    assert began_s
    assert row.longest_silence_s(began_s, began_s + 1.5) > 0.2
    assert row.lost_pieces(turn) <= 2  # at the pause and where it goes on
    assert len(row.turns) == turn + 2, "it was no question"


def test_ctrl_c_silences_the_reply_and_ends_with_the_summary(row: Talked) -> None:
    [at_s] = row.moments["ctrl-c"]
    last_sound_s = row.speaker.last_sound_at_s(at_s, row.ended_at_s)
    assert last_sound_s is None or last_sound_s - at_s < SILENT_WITHIN_S
    assert row.exit_code == ExitCode.SUCCESS
    assert row.turns[-1].outcome == "interrupted"
    assert "12 turns: 10 completed, 2 interrupted." in row.output
    assert "Voice-to-voice" in row.output
    assert (row.left_over, row.streams_left) == ([], 0)


def test_its_own_voice_does_not_interrupt_it_and_speech_does(conversations: Conversations) -> None:
    room = conversations[in_a_room].result()
    outcomes = [record.outcome for record in room.turns]
    assert outcomes == ["completed"] * 3 + ["interrupted", "completed"], room.output
    for turn, (_, beginning) in enumerate(QUESTIONS[:3]):
        assert room.texts(turn)["played"].startswith(beginning)
        assert room.lost_pieces(turn) <= MAX_UNDERRUNS


def test_devices_that_go_away_end_the_conversation_with_a_line_and_the_summary(
    conversations: Conversations,
) -> None:
    talked = conversations[unplugged].result()
    assert "is it still plugged in?" in talked.output
    assert talked.exit_code == ExitCode.FAILED
    assert "1 turn: 1 interrupted" in talked.output
    assert not talked.left_over
