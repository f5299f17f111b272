"""What happens on the control plane, one aligned line an event."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from local_cloud.events import Event, Kind

_STYLES: Mapping[Kind, str] = {
    Kind.DEPLOYED: "bold",
    Kind.RUNNING: "bold",
    Kind.STOPPED: "bold",
    Kind.READY: "green",
    Kind.OK: "green",
    Kind.PREEMPTED: "yellow",
    Kind.CANCELLED: "yellow",
    Kind.RETRIED: "yellow",
    Kind.CRASHED: "bold red",
    Kind.FAILED: "red",
    Kind.TIMED_OUT: "red",
    Kind.UNKNOWN: "red",
    Kind.ERROR: "red",
}
_KIND_WIDTH = max(len(kind) for kind in Kind)


class EventLines:
    """Prints events; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._app_width = len("speech-to-speech-asr")

    def show(self, event: Event) -> None:
        """Print one line: the time, the app, what has happened, to what."""
        self._app_width = max(self._app_width, len(event.app))
        style = _STYLES.get(event.kind, "")
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        line = Text.assemble(
            (f"{clock}.{int(event.at * 1000) % 1000:03}  ", "dim"),
            (f"{event.app:<{self._app_width}}  ", "cyan"),
            (f"{event.kind:>{_KIND_WIDTH}}  ", style),
            _printed(event.text) if event.kind is Kind.OUTPUT else Text(event.text, style),
        )
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False)


def _printed(text: str) -> Text:
    """A container's own line, which may have colours of its own: without what would move the cursor."""
    return Text.from_ansi(text.rsplit("\r", 1)[-1])
