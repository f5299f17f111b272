"""`s2s local-cloud`, and `s2s --local-cloud` before any other command."""

from pathlib import Path

from client.errors import reported_errors
from shared.errors import Misconfigured
from shared.settings import settings


def local_cloud_command(state: Path | None, cache: Path | None) -> None:
    """Run the command; see `s2s local-cloud --help`."""
    try:
        from local_cloud.foreground import run
    except ImportError as error:
        raise Misconfigured(f"This needs {error.name}: pip install -e '.[local-cloud]'") from None
    run(state, cache)


def use_local_cloud() -> None:
    """Point this process, and those that it starts, to the local cloud and to nothing else."""
    with reported_errors(as_json=False):
        from local_cloud.env_file import use_running_local_cloud

        use_running_local_cloud()
    settings.cache_clear()  # what was read before may be chosen by these variables
