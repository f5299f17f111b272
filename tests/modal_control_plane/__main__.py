"""`python -m tests.modal_control_plane`: the control plane in the foreground, telling what happens."""

import argparse
import shlex
import signal
import threading
from pathlib import Path

from tests.modal_control_plane.plane import DEFAULT_CACHE, ControlPlane

SIMULATED = """\
A local control plane for Modal. Real: the modal client, its container entry point, a process per container.
Simulated: scheduling (this machine, at most 4 containers a function unless it says otherwise), the network
(loopback), image builds (pip layers become virtual environments; the rest is recorded, not run), the GPU
(asked for, never there) and memory snapshots (every step, nothing saved). Latencies are this machine's.
"""


def main() -> None:
    """Run until interrupted or terminated."""
    parser = argparse.ArgumentParser(prog="tests.modal_control_plane", description=__doc__)
    parser.add_argument("--env-file", type=Path, default=Path(".local-cloud/env"))
    parser.add_argument("--state", type=Path, help="folder for volumes and files (default: a temporary one)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder for virtual environments")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ControlPlane(options.state, options.cache) as plane:
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plane.environ.items())
        options.env_file.parent.mkdir(parents=True, exist_ok=True)
        options.env_file.write_text(exports)
        try:
            _tell(SIMULATED + "\n" + exports + f"(also in {options.env_file}; end with Ctrl-C)\n")
            plane.watch(_tell)
            stop.wait()
        finally:
            options.env_file.unlink(missing_ok=True)


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201


main()
