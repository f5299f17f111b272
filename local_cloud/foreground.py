"""`s2s local-cloud`: the local cloud in the foreground, one line an event, until it is interrupted."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local_cloud.env_file import EnvFile, env_file_path
from local_cloud.events import Event, Kind
from local_cloud.plane import DEFAULT_CACHE, ControlPlane

INTRODUCTION = """\
A local cloud: Modal's own client and containers, on this machine.
  Real       the modal command and library, unmodified; each container is a process with nothing but its
             image's packages and the sources that are mounted into it
  Simulated  scheduling (this machine; at most 4 containers a function unless it says otherwise), network
             (loopback), image builds (pip layers become virtual environments, the rest is recorded),
             GPUs (recorded, never there), memory snapshots (nothing is saved)
  Models     engines that need no GPU and no hub of models, unless you name others
  Kept       {kept}
Latencies are this machine's, not Modal's.
"""
HOW_TO_USE = """\
Written to {path}. In another terminal: `make deploy-all LOCAL=1`, or `s2s --local-cloud deploy`;
for Modal's own command, `. {path}` first. Ctrl-C ends it.
"""
WITHOUT_GPU = {"S2S_ASR_GPU": "none"}
"""The default ASR engine runs on a CPU too, and asks for no GPU where none can come."""
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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


def run(state: Path | None = None, cache: Path | None = None) -> None:
    """Run until a signal ends it. Raises Misconfigured if another one runs."""
    file = EnvFile(env_file_path())
    file.claim()
    stop, stop_sender = os.pipe()
    os.set_blocking(stop_sender, False)
    # No threading.Event: a handler that sets one hangs if it interrupts a wait that holds the lock of it.
    signal.set_wakeup_fd(stop_sender, warn_on_full_buffer=False)
    for number in END_SIGNALS:
        signal.signal(number, lambda *_: None)
    console = Console()
    lines = EventLines(console)

    def show(event: Event) -> None:
        try:
            lines.show(event)
        except (SystemExit, OSError):  # the reader of our output has left; rich then raises SystemExit
            os.write(stop_sender, b"\n")

    try:
        with ControlPlane(state, cache or DEFAULT_CACHE) as plane:
            kept = f"the volumes' files, in {state}" if state else "nothing: apps, secrets and volumes go"
            written = file.write({**plane.environ, **WITHOUT_GPU})
            for text in (INTRODUCTION.format(kept=kept), written, HOW_TO_USE.format(path=file.path)):
                console.print(text, soft_wrap=True, highlight=False, markup=False)
            plane.watch(show)
            os.read(stop, 1)
    finally:
        file.remove()
    ended = f"The local cloud and all containers have ended; {file.path} is gone."
    console.print(ended, soft_wrap=True, highlight=False)


class EventLines:
    """Prints events; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._app_width = len("speech-to-speech-asr")

    def show(self, event: Event) -> None:
        """Print one line: the time, the app, the kind of event, and what it concerns."""
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
    """A container's own line, with its colours but without what would move the cursor."""
    return Text.from_ansi(text.rsplit("\r", 1)[-1])
