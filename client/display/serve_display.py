"""The gateway on the terminal: where it listens, who is connected, and a line a turn."""

from rich.console import Console

from client.display.terminal import printable
from conversation.turn_record import TurnRecord
from gateway.realtime.socket import PATH, Connection


class ServeDisplay:
    """Prints lines, of what happens and never of what is said."""

    def __init__(self, output: Console) -> None:
        self._output = output
        self._sessions = 0

    def waiting(self, what: str) -> None:
        """What is being waited for; "" for nothing any more."""
        if what:
            self._line(f"{what} …")

    def listening(self, address: tuple[str, int], *, needs_key: bool) -> None:
        """It can be reached."""
        host, port = address[:2]
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._line(f"Page      http://{place}/")
        self._line(f"Realtime  ws://{place}{PATH}")
        key = "one of S2S_API_KEYS" if needs_key else "none is needed"
        self._line(f"API       http://{place}/v1 (key: {key}). Ctrl-C stops.")

    def session(self, connection: Connection, begins: bool) -> None:
        """A session begins, or ends."""
        self._sessions += 1 if begins else -1
        what = "connected" if begins else "left"
        kind = "" if connection.kind == "realtime" else " for transcripts"
        count = "1 session" if self._sessions == 1 else f"{self._sessions} sessions"
        self._line(f"{_name(connection)} {connection.client} {what}{kind}: {count}")

    def turn(self, connection: Connection, record: TurnRecord) -> None:
        """A turn is over."""
        parts = [record.outcome.replace("_", " ")]
        if record.voice_to_voice:
            parts.append(
                f"first audio {record.voice_to_voice.total_us / 1000:,.0f} ms after the end of speech"
            )
        elif record.ledger and record.ledger.time_to_first_audio_us is not None:
            parts.append(f"first audio after {record.ledger.time_to_first_audio_us / 1000:,.0f} ms")
        parts.append(f"{record.reply_us / 1e6:.1f} s of speech")
        if record.failure:
            parts.append(record.failure.message)
        self._line(f"{_name(connection)} {', '.join(parts)}")

    def draining(self, limit_s: float) -> None:
        """It stops."""
        if self._sessions:
            self._line(f"Stopping: turns under way have {limit_s:g} s to end. Ctrl-C again stops at once.")

    def _line(self, text: str) -> None:
        self._output.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _name(connection: Connection) -> str:
    return connection.session_id[-6:]
