"""How log lines look: text for a person, or one JSON object a line for a collector."""

import json
import logging
import sys
from collections.abc import Mapping
from io import TextIOBase
from typing import TextIO

from shared.settings import Settings


def log_fields(logger: logging.Logger, message: str, fields: Mapping[str, object]) -> None:
    """Log an INFO line of named values."""
    logger.info(message, extra={"fields": dict(fields)})


def read_fields(line: str, message: str) -> dict[str, object] | None:
    """The named values of a line that `log_fields` logged with this message, None of any other line.

    In either format they are a JSON object: the line, or what follows the message.
    """
    values = line if line.startswith("{") else line.partition(f": {message} ")[2]
    try:
        fields = json.loads(values)
    except ValueError:
        return None
    if not isinstance(fields, dict) or (values is line and fields.get("message") != message):
        return None
    return fields


def configure_logging(settings: Settings, stream: TextIO | TextIOBase | None = None) -> None:
    """Send all logs to `stream` (standard error by default), as the settings say."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_json else TextFormatter())
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, dict) else {}


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO speech_to_speech.turn: turn {"outcome": "completed", "total_ms": 812}`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """The line, followed by its named values."""
        values = {name: value for name, value in _fields(record).items() if value is not None}
        return " ".join(
            [super().formatMessage(record), *([json.dumps(values, default=str)] if values else [])]
        )


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
