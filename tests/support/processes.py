"""Whether processes have ended."""

import psutil


def is_running(process: psutil.Process | int) -> bool:
    """Not so of one that has ended and only its parent does not know yet."""
    try:
        if isinstance(process, int):
            process = psutil.Process(process)
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
