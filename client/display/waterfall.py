"""A ledger as a waterfall: a bar for each span, where and as long as it was on the critical path."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shared.errors import Stage
from shared.ledger import Ledger, Span

BAR_CELLS = 44
COLOURS = {Stage.ORCHESTRATOR: "white", Stage.ASR: "cyan", Stage.LLM: "magenta", Stage.TTS: "green"}


def waterfall(ledger: Ledger) -> RenderableType:
    """The spans of at least a millisecond, then time to first audio and total."""
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
