"""A conversation on the terminal: what is going on, what is said on both sides, and what fails."""

from math import log10

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from client.display.terminal import printable
from conversation.conversation import Phase
from conversation.reply import SpokenTurn
from shared.turn import ReplyDelta, SpeechChunk, StageWaiting, TranscriptReady, TurnEvent, TurnStarted

METER_CELLS = 12
METER_FLOOR_DB = -60.0
_FRAMES_PER_S = 12.5
_SHOWN = 400
"""Characters of a line under way: five lines of 80 columns."""
_STYLES = {Phase.LISTENING: "bold cyan", Phase.HEARING: "bold yellow"}


class TalkDisplay:
    """Prints what was said on `output`, line by line.

    Below that a terminal (`terminal`, or else `output`) shows what is going on, the microphone's level, and
    the turn under way, which may still change; it disappears when its lines are printed. Without a terminal
    only the lines are printed.
    """

    def __init__(self, output: Console, terminal: Console) -> None:
        self._output = output
        self._terminal = terminal if terminal.is_terminal else output
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._talking = False
        self._waiting = ""
        self._transcript = ""
        self._transcript_printed = False
        self._reply = ""

    def waiting(self, what: str) -> None:
        """Show what is being waited for; in a conversation, once somebody has asked something."""
        self._waiting = what
        if not self._talking:
            self._show(Text(f"{what} …" if what else ""))

    def phase(self, phase: Phase, level: float) -> None:
        """Show what is going on, and the microphone's level from 0 to 1."""
        self._talking = True
        if phase in (Phase.SPEAKING, Phase.PAUSED):  # from now on the question cannot change
            self._print_transcript(self._transcript)
        if self._terminal.is_terminal:
            label = self._waiting if self._waiting and phase is Phase.THINKING else phase.value.capitalize()
            style = _STYLES.get(phase, "bold magenta")
            self._show(Text.assemble((f"{label:<9} ", style), meter(level)))

    def event(self, event: TurnEvent) -> None:
        """Show an event of the turn that is being answered."""
        match event:
            case TurnStarted():
                self._waiting = ""
            case StageWaiting(stage=stage):
                self._waiting = f"Waiting for the {stage.upper()} to start"
            case TranscriptReady(text=text):
                self._waiting, self._transcript, self._reply = "", text, ""
            case ReplyDelta(text=text):
                self._reply += text
            case SpeechChunk():
                self._waiting = ""

    def turn_over(self, turn: SpokenTurn) -> None:
        """Print what was said and answered, and how the turn ended."""
        record, reply = turn.record, self._reply.strip()
        if record.outcome == "interrupted":
            reply = turn.played and f"{turn.played} (interrupted)"
        self._print_transcript(turn.transcript)
        if reply:
            self._line("Reply  ", "bold green", reply)
        self._waiting, self._reply, self._transcript_printed = "", "", False
        if record.outcome == "no_speech":
            self.remark("       No words were recognized.")
        if record.failure:
            again = " Say it again." if record.failure.retryable else ""
            self.problem(f"{record.failure.message}{again}")
        if record.voice_to_voice:
            total_ms = record.voice_to_voice.total_us / 1000
            self.remark(f"       first audio {total_ms:,.0f} ms after you stopped")

    def remark(self, text: str) -> None:
        """Print something worth knowing."""
        self._line("", "", text, style="dim")

    def problem(self, text: str) -> None:
        """Print something that does not work; the conversation continues."""
        self._line("", "", text, style="red")

    def close(self) -> None:
        """Show no more of what is going on."""
        if self._live:
            self._live.stop()
            self._live = None

    def _print_transcript(self, transcript: str) -> None:
        if transcript and not self._transcript_printed:
            self._line("You    ", "bold cyan", transcript)
            self._transcript_printed = True
        self._transcript = ""

    def _line(self, who: str, who_style: str, text: str, *, style: str = "") -> None:
        self.close()
        line = Text.assemble((who, who_style), (printable(text), style))
        self._output.print(line, soft_wrap=not self._output.is_terminal)

    def _show(self, doing: Text) -> None:
        if not doing or not self._terminal.is_terminal:
            self.close()
            return
        self._spinner.update(text=doing)
        if not self._live:  # a stopped one would count its old lines to those it may overwrite
            self._live = Live(console=self._terminal, transient=True, refresh_per_second=_FRAMES_PER_S)
            self._live.start()
        turn = (("You    ", "bold cyan", self._transcript), ("Reply  ", "bold green", self._reply))
        self._live.update(Group(*(_newest(*line) for line in turn if line[-1]), self._spinner))


def _newest(who: str, style: str, text: str) -> Text:
    """As much of it as any terminal has lines for; what does not fit could not be taken away again."""
    left_out = " … " if len(text) > _SHOWN else ""
    return Text.assemble((who, style), left_out, " ".join(printable(text[-_SHOWN:]).split()))


def meter(level: float) -> Text:
    """A bar for a level from 0 to 1, in decibels from -60 to 0."""
    level_db = max(METER_FLOOR_DB, 20 * log10(level)) if level > 0 else METER_FLOOR_DB
    cells = min(METER_CELLS, round(METER_CELLS * (1 - level_db / METER_FLOOR_DB)))
    return Text("█" * cells, "green") + Text("░" * (METER_CELLS - cells), "dim")
