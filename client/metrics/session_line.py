"""What is kept of a session: a line when it begins, one for each turn, one when it ends."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from client.metrics.turn_record import TurnRecord
from shared.ledger import Microseconds
from shared.payloads import Payload
from shared.turn import Identifier


class SessionStarted(Payload):
    """A session begins."""

    record: Literal["session_started"] = "session_started"
    session_id: Identifier
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class SessionEnded(Payload):
    """A session ends."""

    record: Literal["session_ended"] = "session_ended"
    session_id: Identifier
    duration_us: Microseconds
    microphone_lost_us: Microseconds = 0
    """What was said to the microphone and not listened to, since this machine was too busy."""


SessionLine = Annotated[SessionStarted | TurnRecord | SessionEnded, Field(discriminator="record")]
"""What a session tells, in order; each is one line of JSON in a metrics file. A field that only a newer
version knows is ignored, and a new field must have a default."""
