"""`s2s local-cloud`, and other commands on it: `s2s --local-cloud ...`."""

import os
from pathlib import Path

from client.errors import reported_errors
from shared.errors import Misconfigured
from shared.settings import settings

_NEEDED = "This needs the local cloud's packages: pip install -e '.[local-cloud]', or make setup"


def local_cloud_command(state: Path | None, cache: Path | None) -> None:
    """Run the command; see `s2s local-cloud --help`."""
    with reported_errors(as_json=False):
        try:
            from local_cloud.foreground import run
        except ImportError:
            raise Misconfigured(_NEEDED) from None
        run(state, cache)


def use_local_cloud() -> None:
    """Point this process, and those that it starts, to the local cloud and to nothing else."""
    with reported_errors(as_json=False):
        try:
            from local_cloud.env_file import running_local_cloud
        except ImportError:
            raise Misconfigured(_NEEDED) from None
        os.environ.update(running_local_cloud())
    settings.cache_clear()  # what was read before may be chosen by these variables
