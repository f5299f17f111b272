"""A turn on the terminal: what is being waited for, the transcript, the reply, where the time went."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from client.display.terminal import printable
from shared.errors import Stage
from shared.ledger import Ledger, Span
from shared.turn import ReplyDelta, StageWaiting, TranscriptReady, TurnEnd, TurnEvent, TurnStarted

BAR_CELLS = 44
COLOURS = {Stage.ORCHESTRATOR: "white", Stage.ASR: "cyan", Stage.LLM: "magenta", Stage.TTS: "green"}


class TurnProgress:
    """Shows what is being waited for, on a terminal; elsewhere nothing. The display of `--json`."""

    def __init__(self, terminal: Console) -> None:
        self._status = terminal.status("")

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


def waterfall(ledger: Ledger) -> RenderableType:
    """A bar for each span of a millisecond or more, where and as long as it was on the critical path; then
    time to first audio and total."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column("span", no_wrap=True)
    table.add_column("bar", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    start_us = 0
    for span in ledger.spans:
        if span.duration_us >= 1000:
            bar = Text(_bar(start_us, span.duration_us, ledger.total_us), COLOURS[span.stage])
            table.add_row(_label(span), bar, _ms(span.duration_us))
        start_us += span.duration_us
    first_us = ledger.time_to_first_audio_us
    first = "no audio" if first_us is None else f"first audio after {_ms(first_us)}"
    return Group(table, Text(f"{first}, total {_ms(ledger.total_us)}", "bold"))


def _label(span: Span) -> str:
    if span.stage is Stage.ORCHESTRATOR:
        return span.activity
    return f"{span.stage.upper()} {span.activity}"


def _bar(start_us: int, duration_us: int, total_us: int) -> str:
    first = min(start_us * BAR_CELLS // total_us, BAR_CELLS - 1)
    last = max(first + 1, round((start_us + duration_us) * BAR_CELLS / total_us))
    return " " * first + "█" * (last - first) + " " * (BAR_CELLS - last)


def _ms(duration_us: int) -> str:
    return f"{duration_us / 1000:,.0f} ms"
