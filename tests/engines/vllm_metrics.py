"""vLLM's own counters."""

import re
from pathlib import Path

import httpx2
import psutil


def vllm_metric(socket: Path, name: str, **labels: str) -> float:
    """The sum of a counter over its labels."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket))) as client:
        lines = client.get("http://vllm/metrics", timeout=30).text.splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [line for line in lines if re.match(rf"vllm:{name}[{{ ]", line)]
    return sum(float(line.split()[-1]) for line in found if all(one in line for one in wanted))


def vllm_socket_under(pid: int) -> Path:
    """Where the vLLM listens that a process has started."""
    for child in psutil.Process(pid).children(recursive=True):
        command = child.cmdline()
        if "serve" in command and "--uds" in command:
            return Path(command[command.index("--uds") + 1])
    raise AssertionError("it has started no vLLM")
