"""`python -m local_cloud`: the control plane in the foreground, telling what happens."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from rich.console import Console

from local_cloud.console import EventLines
from local_cloud.env_file import DEFAULT_ENV_FILE, AlreadyRunning, EnvFile
from local_cloud.events import Event
from local_cloud.plane import DEFAULT_CACHE, ControlPlane

REFUSED = 2
INTRODUCTION = """\
A local cloud: Modal's own client and containers, on this machine.
  Real       the modal command and library, unmodified; every container a process of its own, with
             nothing but its image's packages and the sources that are mounted into it
  Simulated  scheduling (this machine; at most 4 containers a function unless it says otherwise),
             network (loopback), image builds (pip layers become virtual environments; the rest is
             recorded, not run), GPU (asked for, never there), memory snapshots (nothing is saved)
  Models     those that run without a GPU and weights, unless you name others
  Kept       {kept}
Latencies are this machine's, not Modal's.
"""
HOW_TO_USE = """\
Written to {path}. In another terminal: `. {path}`, or any target with it, as in
`make deploy-all LOCAL=1`. Ctrl-C ends it.
"""


def main() -> int:
    """Run until interrupted or terminated; 0 then, 2 if another one runs."""
    parser = argparse.ArgumentParser(prog="local_cloud", description=__doc__)
    parser.add_argument("--env-file", type=Path, default=DEFAULT_ENV_FILE)
    parser.add_argument("--state", type=Path, help="folder for volumes and files (default: a temporary one)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder for virtual environments")
    options = parser.parse_args()
    env_file = EnvFile(options.env_file)
    try:
        env_file.claim(f"process {os.getpid()}")
    except AlreadyRunning as other:
        told = f"A local cloud is running already ({other}, {env_file.path}): end that one with Ctrl-C first."
        print(told, file=sys.stderr)  # noqa: T201
        return REFUSED
    try:
        _run(options.state, options.cache, env_file)
    finally:
        env_file.remove()
    return 0


def _run(state: Path | None, cache: Path, env_file: EnvFile) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console = Console()
    lines = EventLines(console)

    def show(event: Event) -> None:
        try:
            lines.show(event)
        except SystemExit:  # how rich says that nobody reads its output any longer
            stop.set()

    kept = f"the volumes' files, in {state}" if state else "nothing: deployments, secrets, volumes go with it"
    with ControlPlane(state, cache) as plane:
        written = env_file.write(plane.environ)
        told = INTRODUCTION.format(kept=kept), written, HOW_TO_USE.format(path=env_file.path)
        for text in told:
            console.print(text, soft_wrap=True, highlight=False, markup=False)
        plane.watch(show)
        stop.wait()
    console.print(
        f"The local cloud has ended, with every container; {env_file.path} is gone.", highlight=False
    )


if __name__ == "__main__":
    sys.exit(main())
