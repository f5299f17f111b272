"""So many sessions at once on one gateway: the server in a process of its own, the clients in a group of
processes of their own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
import psutil

LOADS_S = {1: 60.0, 10: 15.0, 50: 15.0, 100: 15.0}
"""How long so many people begin to ask questions: in 15 s about three turns each."""
SAMPLE_EVERY_S = 0.5
SILENT_SESSIONS = (1, 10, 50)
SILENT_S = 15.0
SETTLE_S = 6.0
"""Until all have begun, and their rooms are known."""


@dataclass(frozen=True)
class Load:
    """What one gateway told and took at so many sessions.

    `above_p50_ms` is the median of voice-to-voice above that of the same turns in process, `above_p95_ms` the
    95th percentile above theirs: one turn alone may come a block of audio, 40 ms, earlier or later in either,
    since the VAD's answers differ a little from 24 to 16 kHz. CPU and memory are the server's process's,
    simulated stages included: CPU over the whole talk, memory at its peak above that of a gateway with none
    left.
    """

    sessions: int
    turns: int
    voice_to_voice_s: float
    above_p50_ms: float
    above_p95_ms: float
    core_percent_a_session: float
    memory_mib: float
    memory_mib_a_session: float


@dataclass(frozen=True)
class SilentLoad:
    """What each of so many sessions takes whose people say nothing, above the same gateway without them."""

    sessions: int
    core_percent_a_session: float
    memory_mib_a_session: float


@dataclass(frozen=True)
class Soak:
    """A gateway under the same load for long; medians of the first and of the last quarter of the time."""

    sessions: int
    duration_s: float
    turns: int
    first_memory_mib: float
    last_memory_mib: float
    first_voice_to_voice_s: float
    last_voice_to_voice_s: float


def loads(in_process_s: list[float]) -> list[Load]:
    """At each number of sessions, each in a fresh process; `in_process_s` of turns without a gateway."""
    return [_load(sessions, talk_s, in_process_s) for sessions, talk_s in LOADS_S.items()]


def silent_loads() -> list[SilentLoad]:
    """At each number of sessions, on one gateway that has had a session before."""
    with _served() as (server, port):
        _silent(port, 1, 2.0).communicate()
        idle_percent = _core_percent(server)
        return [_silent_load(server, port, sessions, idle_percent) for sessions in SILENT_SESSIONS]


def _silent_load(server: psutil.Process, port: int, sessions: int, idle_percent: float) -> SilentLoad:
    before_mib = _memory_mib(server)
    with _silent(port, sessions, 3600.0) as people:
        try:
            time.sleep(SETTLE_S)
            percent = _core_percent(server)
            memory_mib = _memory_mib(server) - before_mib
        finally:
            people.kill()
    return SilentLoad(sessions, (percent - idle_percent) / sessions, memory_mib / sessions)


def _silent(port: int, sessions: int, duration_s: float) -> "subprocess.Popen[str]":
    return _clients("bench.gateway.silent", port, sessions, duration_s)


def _core_percent(process: psutil.Process) -> float:
    began_cpu_s, began_s = _cpu_s(process), time.monotonic()
    time.sleep(SILENT_S)
    return 100 * (_cpu_s(process) - began_cpu_s) / (time.monotonic() - began_s)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The median and the 95th."""
    return median(values), float(np.percentile(values, 95))


def _load(sessions: int, talk_s: float, in_process_s: list[float]) -> Load:
    talked = _talk(sessions, talk_s)
    p50_s, p95_s = percentiles(talked.voice_to_voice_s)
    usual_p50_s, usual_p95_s = percentiles(in_process_s)
    peak = max(talked.memory_mib)
    return Load(
        sessions=sessions,
        turns=len(talked.voice_to_voice_s),
        voice_to_voice_s=p50_s,
        above_p50_ms=(p50_s - usual_p50_s) * 1000,
        above_p95_ms=(p95_s - usual_p95_s) * 1000,
        core_percent_a_session=talked.cpu_s / talked.took_s / sessions * 100,
        memory_mib=peak,
        memory_mib_a_session=(peak - talked.idle_mib) / sessions,
    )


def soak(sessions: int, duration_s: float) -> Soak:
    """See Soak."""
    talked = _talk(sessions, duration_s)
    memory_mib, voice_to_voice_s = _quarters(talked.memory_mib), _quarters(talked.voice_to_voice_s)
    return Soak(
        sessions=sessions,
        duration_s=talked.took_s,
        turns=len(talked.voice_to_voice_s),
        first_memory_mib=memory_mib[0],
        last_memory_mib=memory_mib[1],
        first_voice_to_voice_s=voice_to_voice_s[0],
        last_voice_to_voice_s=voice_to_voice_s[1],
    )


def _quarters(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last quarter."""
    quarter = max(1, len(values) // 4)
    return median(values[:quarter]), median(values[-quarter:])


@dataclass(frozen=True)
class _Talked:
    voice_to_voice_s: list[float]
    cpu_s: float
    took_s: float
    idle_mib: float
    memory_mib: list[float]


def _talk(sessions: int, duration_s: float) -> _Talked:
    with _served() as (server, port):
        _speakers(port, 1, 0.0).communicate()  # the first turn of a process is slower
        idle_mib, cpu_s, began_s = _memory_mib(server), _cpu_s(server), time.monotonic()
        speakers = _speakers(port, sessions, duration_s)
        memory_mib = [idle_mib]
        try:
            while True:
                try:
                    told, _ = speakers.communicate(timeout=SAMPLE_EVERY_S)
                    break
                except subprocess.TimeoutExpired:
                    memory_mib.append(_memory_mib(server))
        finally:
            speakers.kill()
        assert speakers.returncode == 0, "the clients failed: see above"
        took_s = time.monotonic() - began_s
        return _Talked(json.loads(told), _cpu_s(server) - cpu_s, took_s, idle_mib, memory_mib)


def _speakers(port: int, sessions: int, duration_s: float) -> "subprocess.Popen[str]":
    return _clients("bench.gateway.speakers", port, sessions, duration_s)


def _clients(module: str, port: int, sessions: int, duration_s: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, str(port), str(sessions), str(duration_s)],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@contextmanager
def _served() -> Iterator[tuple[psutil.Process, int]]:
    """The server's process, and its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.gateway.served"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as server:
        assert server.stdout
        try:
            yield psutil.Process(server.pid), int(server.stdout.readline())
        finally:
            server.communicate()  # the end of its input ends it


def _memory_mib(process: psutil.Process) -> float:
    rss: int = process.memory_info().rss
    return rss / 2**20


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    cpu_s: float = times.user + times.system
    return cpu_s
