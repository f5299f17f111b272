"""A turn on the terminal: what is being waited for, the transcript, the reply, where the time went."""

from rich.console import Console
from rich.text import Text

from client.display.terminal import printable
from client.display.waterfall import waterfall
from shared.errors import Stage
from shared.turn import ReplyDelta, StageWaiting, TranscriptReady, TurnEnd, TurnEvent, TurnStarted


class TurnProgress:
    """Shows what is being waited for, on a terminal; elsewhere nothing. The display of `--json`."""

    def __init__(self, terminal: Console) -> None:
        self._status = terminal.status("")

    def loading(self, models: dict[Stage, str]) -> None:
        """Show which models are still being loaded."""
        self.waiting("Loading " + ", ".join(models.values()) if models else "")

    def waiting(self, what: str) -> None:
        """Show what is being waited for, until it is ""."""
        if what:
            self._status.update(f"{what} …")
            self._status.start()
        else:
            self._status.stop()

    def event(self, event: TurnEvent) -> None:
        """Show an event of the turn."""
        if isinstance(event, StageWaiting):
            self.waiting(f"Waiting for {event.stage.upper()} to start")

    def close(self) -> None:
        """Show no more."""
        self._status.stop()


class TurnDisplay(TurnProgress):
    """Shows the whole turn: the progress and, on `output`, what was said on both sides and the ledger."""

    def __init__(self, output: Console, terminal: Console) -> None:
        super().__init__(terminal)
        self._output = output
        self._in_reply = False

    def event(self, event: TurnEvent) -> None:
        """Show an event of the turn."""
        super().event(event)
        match event:
            case TurnStarted():
                self.waiting("Transcribing")
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
