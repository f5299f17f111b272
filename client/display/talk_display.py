"""A conversation as a person sees it: whether they are heard, what is said on both sides, and what fails."""

from math import log10

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from client.display.terminal import printable
from conversation.conversation import SpokenTurn
from shared.errors import Stage
from shared.turn import ReplyDelta, SpeechChunk, StageWaiting, TranscriptReady, TurnEvent, TurnStarted

METER_CELLS = 12
METER_FLOOR_DB = -60.0
_FRAMES_PER_S = 12.5
_REPLY_SHOWN = 400
"""Characters of a reply under way: five lines of 80 columns."""


class TalkConversation:
    """Prints what was said on `output`, line by line.

    Below that a terminal (`terminal`, or else `output`) shows what is going on, the microphone's level, and
    the reply as it comes; it is gone when its line is printed. Without a terminal there is nothing of it.
    """

    def __init__(self, output: Console, terminal: Console) -> None:
        self._output = output
        self._terminal = terminal if terminal.is_terminal else output
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._talking = False
        self._waiting = ""
        self._reply = ""
        self._speech_came = False

    def loading(self, models: dict[Stage, str]) -> None:
        """These models are being loaded; none is left when it is empty."""
        self.waiting("Loading " + ", ".join(models.values()) if models else "")

    def waiting(self, what: str) -> None:
        """This is being waited for; in a conversation, by who has asked something."""
        self._waiting = what
        if not self._talking:
            self._show(Text(f"{what} …" if what else ""))

    def listening(self, level: float) -> None:
        """See TalkDisplay."""
        self._talking = True
        self._show_phase("Listening", "bold cyan", level)

    def hearing(self, level: float) -> None:
        """See TalkDisplay."""
        self._show_phase("Hearing", "bold yellow", level)

    def speaking(self, level: float, *, paused: bool) -> None:
        """See TalkDisplay."""
        if paused:
            self._show_phase("Paused", "bold magenta", level)
        elif self._waiting:
            self._show_phase(self._waiting, "bold magenta", level)
        else:
            self._show_phase("Speaking" if self._speech_came else "Thinking", "bold magenta", level)

    def tell(self, event: TurnEvent) -> None:
        """See TalkDisplay."""
        match event:
            case TurnStarted():
                self._waiting = ""
            case StageWaiting(stage=stage):
                self._waiting = f"Waiting for the {stage.upper()} to start"
            case TranscriptReady(text=text):
                self._waiting = ""
                self._line("You    ", "bold cyan", text)
            case ReplyDelta(text=text):
                self._reply += text
            case SpeechChunk():
                self._waiting, self._speech_came = "", True

    def turn_over(self, turn: SpokenTurn) -> None:
        """See TalkDisplay."""
        record = turn.record
        interrupted = record.outcome == "interrupted"
        if reply := f"{turn.heard} (interrupted)".strip() if interrupted else self._reply.strip():
            self._line("Reply  ", "bold green", reply)
        self._waiting, self._reply, self._speech_came = "", "", False
        if record.outcome == "no_speech":
            self.remark("       No words were understood.")
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
        self._hide()

    def _line(self, who: str, who_style: str, text: str, *, style: str = "") -> None:
        self._hide()
        line = Text.assemble((who, who_style), (printable(text), style))
        self._output.print(line, soft_wrap=not self._output.is_terminal)

    def _show_phase(self, doing: str, style: str, level: float) -> None:
        if self._terminal.is_terminal:
            self._show(Text.assemble((f"{doing:<9} ", style), meter(level)))

    def _show(self, doing: Text) -> None:
        if not doing or not self._terminal.is_terminal:
            self._hide()
            return
        self._spinner.update(text=doing)
        if not self._live:  # a stopped one would count its old lines to those it may overwrite
            self._live = Live(console=self._terminal, transient=True, refresh_per_second=_FRAMES_PER_S)
            self._live.start()
        self._live.update(Group(self._newest_reply(), self._spinner) if self._reply else self._spinner)

    def _newest_reply(self) -> Text:
        """As much of it as any terminal has lines for; what does not fit, it cannot take away again."""
        left_out = " … " if len(self._reply) > _REPLY_SHOWN else ""
        newest = " ".join(printable(self._reply[-_REPLY_SHOWN:]).split())
        return Text.assemble(("Reply  ", "bold green"), left_out, newest)

    def _hide(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None


def meter(level: float) -> Text:
    """A bar for a level from 0 to 1, in decibels from -60 to 0."""
    level_db = max(METER_FLOOR_DB, 20 * log10(level)) if level > 0 else METER_FLOOR_DB
    cells = min(METER_CELLS, round(METER_CELLS * (1 - level_db / METER_FLOOR_DB)))
    return Text("█" * cells, "green") + Text("░" * (METER_CELLS - cells), "dim")
