"""How log lines look: text for a person, or one JSON object a line for a collector."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from io import TextIOBase
from typing import TextIO

from shared.settings import Settings


def log_fields(logger: logging.Logger, message: str, fields: Mapping[str, object]) -> None:
    """Log an INFO line of named values."""
    logger.info(message, extra={"fields": dict(fields)})


def read_fields(line: str, message: str) -> dict[str, object] | None:
    """The named values of a line that `log_fields` has logged with this message, in either format; None
    if it is another line. In text every value is a string."""
    if line.startswith("{"):
        return _json_fields(line, message)
    _, found, values = line.partition(f": {message} ")
    if not found:
        return None
    return {name: json.loads(value) if value[:1] == '"' else value for name, value in _VALUE.findall(values)}


def configure_logging(settings: Settings, stream: TextIO | TextIOBase | None = None) -> None:
    """Send all logs to `stream` (standard error by default), as the settings say."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_json else TextFormatter())
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)


def _json_fields(line: str, message: str) -> dict[str, object] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and fields.get("message") == message else None


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, dict) else {}


_VALUE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_PLAIN = re.compile(r"[^\s\"\\]+")


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO speech_to_speech.turn: turn outcome=completed llm="offline rules" total_ms=812`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """The line, its named values behind it."""
        values = (f"{name}={_text(value)}" for name, value in _fields(record).items() if value is not None)
        return " ".join([super().formatMessage(record), *values])


def _text(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and the named values beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
