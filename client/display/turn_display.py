"""A turn as a person sees it: what is being waited for, what was heard, the reply as it is spoken,
where the time went."""

from typing import Protocol

from rich.console import Console
from rich.text import Text

from client.display.terminal import printable
from client.display.waterfall import waterfall
from shared.errors import Stage
from shared.turn import ReplyDelta, StageWaiting, TranscriptReady, TurnEnd, TurnEvent, TurnStarted


class TurnDisplay(Protocol):
    """Shows one turn."""

    def loading(self, models: dict[Stage, str]) -> None:
        """These models are being loaded; none is left when it is empty."""

    def waiting(self, what: str) -> None:
        """This is being waited for."""

    def tell(self, event: TurnEvent) -> None:
        """This happened."""

    def close(self) -> None:
        """Nothing more will happen."""


class Progress:
    """Shows what is being waited for, on a terminal; elsewhere nothing. The display of `--json`."""

    def __init__(self, terminal: Console) -> None:
        self._status = terminal.status("")

    def loading(self, models: dict[Stage, str]) -> None:
        """See TurnDisplay."""
        self.waiting("Loading " + ", ".join(models.values()) if models else "")

    def tell(self, event: TurnEvent) -> None:
        """See TurnDisplay."""
        if isinstance(event, StageWaiting):
            self.waiting(f"Waiting for {event.stage.upper()} to start")

    def close(self) -> None:
        """See TurnDisplay."""
        self._status.stop()

    def waiting(self, what: str) -> None:
        """See TurnDisplay."""
        if what:
            self._status.update(f"{what} …")
            self._status.start()
        else:
            self._status.stop()


class Conversation(Progress):
    """Shows the whole turn: the progress and, on `output`, what was said on both sides and the ledger."""

    def __init__(self, output: Console, terminal: Console) -> None:
        super().__init__(terminal)
        self._output = output
        self._in_reply = False

    def tell(self, event: TurnEvent) -> None:
        """See TurnDisplay."""
        super().tell(event)
        match event:
            case TurnStarted():
                self.waiting("Listening")
            case TranscriptReady(text=text):
                self._line("You    ", text)
                self.waiting("Thinking")
            case ReplyDelta(text=text):
                self._reply(text)
            case TurnEnd():
                self._end(event)

    def _line(self, who: str, text: str) -> None:
        self.close()
        self._output.print(Text.assemble((who, "bold cyan"), printable(text)), soft_wrap=True)

    def _reply(self, text: str) -> None:
        self.close()
        if not self._in_reply:
            self._in_reply = True
            self._output.print(Text("Reply  ", "bold green"), end="")
        self._output.print(Text(printable(text)), end="", soft_wrap=True)

    def _end(self, end: TurnEnd) -> None:
        self.close()
        if self._in_reply:
            self._output.print()
        if end.ledger.total_us:
            self._output.print()
            self._output.print(waterfall(end.ledger))
