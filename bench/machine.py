"""What the figures were measured on."""

import platform

import psutil


def machine() -> str:
    """Its cores, memory and Python."""
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"
