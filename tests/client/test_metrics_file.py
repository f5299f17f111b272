"""The metrics file: every line of it at once, and read again to the same summary."""

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from client.audio.microphone import FileMicrophone
from client.errors import OutputNotWritten
from client.metrics.conversation_metrics import ConversationMetrics
from client.metrics.metrics_file import (
    MAX_LINE_BYTES,
    BadMetrics,
    ConversationEnded,
    MetricsFile,
    MetricsLine,
    read_metrics,
)
from client.metrics.summary import summarized
from conversation.turn_record import TurnRecord
from shared.audio.pcm import Pcm
from tests.support.metrics_lines import STARTED, turn, turn_records

LINE: TypeAdapter[MetricsLine] = TypeAdapter(MetricsLine)


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@given(turn_records() | st.just(STARTED))
def test_a_line_is_the_same_after_it_was_json(line: MetricsLine) -> None:
    json_line = line.model_dump_json()
    assert "\n" not in json_line
    assert LINE.validate_json(json_line) == line


def test_the_report_of_a_file_is_the_live_summary(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"

    @given(st.lists(turn_records(), max_size=3), st.floats(0, 1e5))
    def told_again(records: list[TurnRecord], length_s: float) -> None:
        path.unlink(missing_ok=True)
        clock = Clock()
        with MetricsFile(path) as file:
            with ConversationMetrics(clock, file) as metrics:
                for record in records:
                    metrics.add(record.model_copy(update={"session_id": metrics.session_id}))
                clock.now_s += length_s
            summary = metrics.summary()
        assert summarized(read_metrics(path)) == summary
        assert summary.duration_us == round(length_s * 1e6)

    told_again()


def test_every_line_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file, ConversationMetrics(Clock(), file) as metrics:
        assert [line.record for line in read_metrics(path)] == ["conversation_started"]
        metrics.add(turn())
        assert [line.record for line in read_metrics(path)] == ["conversation_started", "turn"]


def test_lost_microphone_audio_is_in_the_last_line(tmp_path: Path) -> None:
    path, microphone = tmp_path / "metrics.jsonl", FileMicrophone(Pcm(np.zeros(512, np.float32), 16_000))
    with MetricsFile(path) as file, ConversationMetrics(Clock(), file, microphone):
        microphone.lost_samples = 8_000
    *_, ended = read_metrics(path)
    assert isinstance(ended, ConversationEnded)
    assert ended.microphone_lost_us == 500_000


def test_a_conversation_that_is_broken_off_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(KeyboardInterrupt), MetricsFile(path) as file, ConversationMetrics(Clock(), file):
        raise KeyboardInterrupt
    assert [line.record for line in read_metrics(path)] == ["conversation_started", "conversation_ended"]


def test_the_next_conversation_is_appended_and_leaves_a_cut_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = STARTED.model_dump_json()
    path.write_text(f'{whole}\n{{"record": "tu')
    with MetricsFile(path) as file:
        file.write(STARTED)
    lines = path.read_text().splitlines()
    assert lines == [whole, '{"record": "tu', whole]


def test_what_a_newer_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(json.loads(STARTED.model_dump_json()) | {"weather": "fine"}) + "\n\n")
    assert read_metrics(path) == [STARTED]


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "Line 2"),
        (b'{"record": "cake"}', "cake"),
        (b'{"record": "conversation_ended", "session_id": "one", "duration_us": -1}', "duration_us"),
        (
            b'{"record": "conversation_ended", "session_id": "one", "duration_us": ' + b"9" * 5000 + b"}",
            "Line 2",
        ),
        (b"\xff\xfe\x00", "Line 2"),
        (b" " * MAX_LINE_BYTES + b"{}", "too long"),
    ],
    ids=["torn", "list", "unknown", "negative", "huge", "binary", "long"],
)
def test_a_damaged_line_is_told_by_its_number(tmp_path: Path, line: bytes, saying: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(STARTED.model_dump_json().encode() + b"\n" + line + b"\n")
    with pytest.raises(BadMetrics, match=saying) as told:
        read_metrics(path)
    assert "Line 2" in told.value.message


def test_a_file_of_too_many_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n" * 100_001)
    with pytest.raises(BadMetrics, match="100,000 lines"):
        read_metrics(path)


@pytest.fixture
def almost_full_disk() -> Iterator[Callable[[int], None]]:
    """Files may have so many bytes; the system writes a part of what does not fit, and says how much."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda num_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_fits_in_part_is_the_last_one(
    tmp_path: Path, almost_full_disk: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        file.write(STARTED)
        almost_full_disk(path.stat().st_size + 10)
        file.write(STARTED)
        almost_full_disk(10**6)
        file.write(STARTED)  # it would be glued to the part
    whole, part = path.read_bytes().splitlines()
    assert (LINE.validate_json(whole), part) == (STARTED, whole[:10])
    (problem,) = caplog.messages
    assert "No more metrics are written" in problem


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritten, match="No such file or directory"):
        MetricsFile(tmp_path / "nowhere" / "metrics.jsonl")


def test_a_disk_that_is_full_does_not_end_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with MetricsFile(Path("/dev/full")) as file, ConversationMetrics(Clock(), file) as metrics:
        metrics.add(turn())
    assert metrics.summary().turns == 1
    (told,) = caplog.messages
    assert "No space left" in told
