"""Whether processes have ended, and which have not."""

from contextlib import suppress

import psutil


def is_running(process: psutil.Process | int) -> bool:
    """Not so of one that has ended and only its parent does not know yet."""
    try:
        if isinstance(process, int):
            process = psutil.Process(process)
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants_with(words: str, of: int | None = None) -> list[psutil.Process]:
    """Those of this process, or of another one, that run a command with these words in it."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for one in psutil.Process(of).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has ended, waited for or not
                if words in " ".join(one.cmdline()):
                    found.append(one)
    return found
