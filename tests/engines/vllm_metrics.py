"""vLLM's own counters."""

import http.client
import re

import psutil


def vllm_metric(address: str, name: str, **labels: str) -> float:
    """The sum of a counter over its labels; `address` is host:port."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [line for line in lines if re.match(rf"vllm:{name}[{{ ]", line)]
    return sum(float(line.split()[-1]) for line in found if all(one in line for one in wanted))


def vllm_address_under(pid: int) -> str:
    """Where the vLLM listens that a process has started."""
    for child in psutil.Process(pid).children(recursive=True):
        command = child.cmdline()
        if "serve" in command and "--port" in command:
            return f"127.0.0.1:{command[command.index('--port') + 1]}"
    raise AssertionError("it has started no vLLM")
