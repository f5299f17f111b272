"""Log lines: text for a person, JSON for a collector."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.logs import JsonFormatter, TextFormatter, configure_logging, log_fields, read_fields
from shared.settings import Settings

logger = logging.getLogger("speech_to_speech.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(**settings: object) -> str:
    stream = io.StringIO()
    configure_logging(Settings.model_validate({"log_level": "INFO", **settings}), stream)
    log_fields(logger, "turn", {"outcome": "completed", "total_ms": 812.5, "first_audio_ms": None})
    return stream.getvalue()


def test_a_line_of_text_has_its_values_behind_it() -> None:
    assert (
        written()
        .strip()
        .endswith('INFO speech_to_speech.test: turn {"outcome": "completed", "total_ms": 812.5}')
    )


def test_a_json_line_is_one_object_with_its_values_beside_the_message() -> None:
    line = json.loads(written(log_json=True))
    assert (line["message"], line["level"], line["outcome"], line["total_ms"]) == (
        "turn",
        "INFO",
        "completed",
        812.5,
    )


def test_an_error_in_json_holds_its_traceback_in_the_same_line() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_json=True), stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("It failed.")
    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_lines_below_the_level_are_not_written() -> None:
    assert written(log_level="ERROR") == ""


VALUES = st.dictionaries(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), st.text(), max_size=5)


@given(VALUES, st.booleans())
def test_what_a_turn_line_says_can_be_read_again(values: dict[str, str], log_json: bool) -> None:
    own = {f"v_{name}": value for name, value in values.items()}
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, "turn", (), None, extra={"fields": own})
    line = (JsonFormatter() if log_json else TextFormatter()).format(record)
    read = read_fields(line, "turn") or {}
    assert {name: value for name, value in read.items() if name.startswith("v_")} == own


def test_a_line_of_something_else_is_not_read() -> None:
    assert read_fields("12:00:00 INFO other: turned off a=b", "turn") is None
