"""A conversation as a person sees it: whether they are heard, what is said on both sides, and what fails."""

from math import log10

from rich.console import Console
from rich.text import Text

from client.talk import SpokenTurn
from shared.errors import Stage
from shared.turn import ReplyDelta, StageWaiting, TranscriptReady, TurnEvent

METER_CELLS = 12
METER_FLOOR_DB = -60.0


class TalkConversation:
    """Shows what is said on `output`, and on `terminal` what is going on and the microphone's level; the
    latter only if it is one."""

    def __init__(self, output: Console, terminal: Console) -> None:
        self._output = output
        self._status = terminal.status("")
        self._shows_status = terminal.is_terminal
        self._in_reply = False
        self._waiting = ""

    def loading(self, models: dict[Stage, str]) -> None:
        """These models are being loaded; none is left when it is empty."""
        self.waiting("Loading " + ", ".join(models.values()) if models else "")

    def waiting(self, what: str) -> None:
        """This is being waited for."""
        self._show(Text(f"{what} …" if what else ""))

    def listening(self, level: float) -> None:
        """See TalkDisplay."""
        self._show(Text.assemble(("Listening ", "bold cyan"), meter(level)))

    def hearing(self, level: float) -> None:
        """See TalkDisplay."""
        self._show(Text.assemble(("Hearing   ", "bold yellow"), meter(level)))

    def speaking(self, level: float, *, paused: bool) -> None:
        """See TalkDisplay."""
        if self._in_reply:  # the line that is being written needs the cursor
            return
        doing = self._waiting or ("Paused   " if paused else "Thinking ")
        self._show(Text.assemble((f"{doing} ", "bold magenta"), meter(level)))

    def tell(self, event: TurnEvent) -> None:
        """See TalkDisplay."""
        match event:
            case StageWaiting(stage=stage):
                self._waiting = f"Waiting for the {stage.upper()} to start"
            case TranscriptReady(text=text):
                self._waiting = ""
                self._line("You    ", "bold cyan", text)
            case ReplyDelta(text=text):
                self._waiting = ""
                self._reply(text)

    def turn_over(self, turn: SpokenTurn) -> None:
        """See TalkDisplay."""
        self._waiting = ""
        record = turn.record
        if record.outcome == "interrupted":
            self._reply(" … (interrupted)")
        if self._in_reply:
            self._output.print()
            self._in_reply = False
        if record.failure:
            again = " Say it again." if record.failure.retryable else ""
            self.problem(f"{record.failure.message}{again}")
        if record.voice_to_voice:
            total_ms = record.voice_to_voice.total_us / 1000
            self.remark(f"       first sound {total_ms:,.0f} ms after you stopped")

    def remark(self, text: str) -> None:
        """Something that is good to know."""
        self._line("", "", text, style="dim")

    def problem(self, text: str) -> None:
        """Something does not work; the conversation goes on."""
        self._line("", "", text, style="red")

    def close(self) -> None:
        """Nothing more will happen."""
        self._status.stop()
        if self._in_reply:
            self._output.print()

    def _line(self, who: str, who_style: str, text: str, *, style: str = "") -> None:
        self._status.stop()
        self._output.print(Text.assemble((who, who_style), (text, style)), soft_wrap=True)

    def _reply(self, text: str) -> None:
        self._status.stop()
        if not self._in_reply:
            self._in_reply = True
            self._output.print(Text("Reply  ", "bold green"), end="")
        self._output.print(Text(text), end="", soft_wrap=True)

    def _show(self, text: Text) -> None:
        if not self._shows_status:
            return
        if text:
            self._status.update(text)
            self._status.start()
        else:
            self._status.stop()


def meter(level: float) -> Text:
    """A bar for a level from 0 to 1, in decibels from -60 to 0."""
    level_db = max(METER_FLOOR_DB, 20 * log10(level)) if level > 0 else METER_FLOOR_DB
    cells = round(METER_CELLS * (1 - level_db / METER_FLOOR_DB))
    return Text("█" * cells, "green") + Text("░" * (METER_CELLS - cells), "dim")
