"""A turn over pools of containers, as `orchestrator.pipeline` runs it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import simpy

from bench.scale.engines import Batches, Lanes
from bench.scale.pool import Container
from shared.errors import Stage

Steps = Generator[simpy.Event, Container | None, None]
Entering = Generator[simpy.Event, Container | None, Container | None]

FIRST_CLAUSE_S = 1.5
"""Of speech, assumed: a reply's first chunk ends where its first clause does."""

SENTENCE_S = 3.0
"""Of speech, assumed: 50 characters."""


@dataclass(frozen=True)
class Workload:
    """What a turn asks for, in seconds."""

    utterance_s: float
    reply_s: float
    asr_s: float
    llm_s: float
    """From the call's begin to the last token; the text comes evenly."""
    tts_s: float
    """Of all its chunks; each takes its share."""


STAGES = tuple(Stage)


@dataclass(eq=False)
class Played:
    """How a turn went."""

    first_audio_s: float | None = None
    """From the request; None if the turn was refused, or is not answered yet."""
    cold: bool = False
    """Whether a call of it waited for a container that started."""
    waited_s: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """For a container, or in it, on the way to the first audio."""


class Apps(Protocol):
    """Where the stages of a turn are."""

    def seat(self, played: Played) -> Entering:
        """Begin the turn; None if it is refused."""
        ...

    def leave_seat(self, seat: Container) -> None:
        """End the turn."""
        ...

    def wake(self) -> None:
        """Wake what the turn will need."""
        ...

    def enter(self, stage: Stage, seat: Container, played: Played) -> Entering:
        """The container in which a call of the stage begins; None if it is refused."""
        ...

    def leave(self, stage: Stage, container: Container) -> None:
        """End the call."""
        ...


def run_turn(env: simpy.Environment, apps: Apps, work: Workload, played: Played, growth: float) -> Steps:
    """Play a turn, and write in `played` how it went. `growth` is the setting max_chunk_growth, without which
    a chunk would hold all that is written."""
    began_s = env.now
    seat = yield from apps.seat(played)
    if seat is None:
        return
    apps.wake()
    yield from _answer(env, apps, seat, work, played, growth, began_s)
    apps.leave_seat(seat)


def _answer(
    env: simpy.Environment,
    apps: Apps,
    seat: Container,
    work: Workload,
    played: Played,
    growth: float,
    began_s: float,
) -> Steps:
    container = yield from apps.enter(Stage.ASR, seat, played)
    if container is None:
        return
    batches: Batches = container.engines[Stage.ASR]
    asked_s = env.now
    yield batches.work(work.asr_s)
    played.waited_s[Stage.ASR] += env.now - asked_s - work.asr_s
    apps.leave(Stage.ASR, container)

    container = yield from apps.enter(Stage.LLM, seat, played)
    if container is None:
        return
    lanes: Lanes = container.engines[Stage.LLM]
    asked_s = env.now
    if not lanes.take():
        yield lanes.wait()
    played.waited_s[Stage.LLM] += env.now - asked_s
    written_from_s = env.now
    writing = env.timeout(work.llm_s)
    assert writing.callbacks is not None
    writing.callbacks.append(lambda _: _written(apps, lanes, container))

    speech = _Speech(work, written_from_s, growth)
    for ready_s, chunk_s in speech.chunks(env):
        if ready_s > env.now:
            yield env.timeout(ready_s - env.now)
        speaker = yield from apps.enter(Stage.TTS, seat, played)
        if speaker is None:
            return
        voice: Lanes = speaker.engines[Stage.TTS]
        asked_s = env.now
        if not voice.take():
            yield voice.wait()
        if played.first_audio_s is None:
            played.waited_s[Stage.TTS] += env.now - asked_s
        yield env.timeout(work.tts_s * chunk_s / work.reply_s)
        voice.end()
        apps.leave(Stage.TTS, speaker)
        if played.first_audio_s is None:
            played.first_audio_s = env.now - began_s
    if not writing.processed:
        yield writing


def _written(apps: Apps, lanes: Lanes, container: Container) -> None:
    lanes.end()
    apps.leave(Stage.LLM, container)


class _Speech:
    """A reply's sentences as they are written, and cut into chunks as `orchestrator.chunker` cuts them: the
    first clause; then, at each pull, the sentences that have gathered, up to `growth` times the last one."""

    def __init__(self, work: Workload, written_from_s: float, growth: float) -> None:
        first_s = min(FIRST_CLAUSE_S, work.reply_s)
        rest_s = work.reply_s - first_s
        sentences = max(1, round(rest_s / SENTENCE_S))
        self._lengths_s = [first_s] + ([rest_s / sentences] * sentences if rest_s else [])
        share = work.llm_s / work.reply_s
        self._ready_s = [written_from_s + end_s * share for end_s in accumulate(self._lengths_s)]
        self._growth = growth

    def chunks(self, env: simpy.Environment) -> Iterator[tuple[float, float]]:
        """When the next chunk is there, and its seconds of speech; each is pulled when the last is spoken."""
        yield self._ready_s[0], self._lengths_s[0]
        index, last_s = 1, self._lengths_s[0]
        while index < len(self._lengths_s):
            ready_s, chunk_s = max(env.now, self._ready_s[index]), self._lengths_s[index]
            index += 1
            while (
                index < len(self._lengths_s)
                and self._ready_s[index] <= ready_s
                and chunk_s + self._lengths_s[index] <= self._growth * last_s
            ):
                chunk_s += self._lengths_s[index]
                index += 1
            yield ready_s, chunk_s
            last_s = chunk_s
