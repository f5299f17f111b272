"""A turn over pools of containers, as `orchestrator.pipeline` runs it."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import simpy

from bench.scale.engines import Lanes
from bench.scale.pool import Container
from shared.errors import Stage

Steps = Generator[simpy.Event, Container | None, None]
Entering = Generator[simpy.Event, Container | None, Container | None]
Working = Generator[simpy.Event, Container | None, bool]

FIRST_CLAUSE_S = 1.5
"""Of speech, assumed: a reply's first chunk ends where its first clause does."""

SENTENCE_S = 3.0
"""Of speech, assumed: 50 characters."""


@dataclass(frozen=True)
class Workload:
    """What a turn asks for, in seconds."""

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


class Turn:
    """One turn. `growth` is the setting max_chunk_growth."""

    def __init__(
        self, env: simpy.Environment, apps: Apps, work: Workload, played: Played, growth: float
    ) -> None:
        self._env = env
        self._apps = apps
        self._work = work
        self._played = played
        self._growth = growth

    def run(self) -> Steps:
        """Play it, and write in `played` how it went."""
        began_s = self._env.now
        seat = yield from self._apps.seat(self._played)
        if seat is None:
            return
        self._apps.wake()
        if (yield from self._transcribed(seat)):
            yield from self._answered(seat, began_s)
        self._apps.leave_seat(seat)

    def _transcribed(self, seat: Container) -> Working:
        container = yield from self._apps.enter(Stage.ASR, seat, self._played)
        if container is None:
            return False
        asked_s = self._env.now
        yield container.engines[Stage.ASR].work(self._work.asr_s)
        self._waited(Stage.ASR, self._env.now - asked_s - self._work.asr_s)
        self._apps.leave(Stage.ASR, container)
        return True

    def _answered(self, seat: Container, began_s: float) -> Steps:
        """Write the reply, and speak each chunk of it while the rest is being written."""
        container = yield from self._apps.enter(Stage.LLM, seat, self._played)
        if container is None:
            return
        lanes: Lanes = container.engines[Stage.LLM]
        yield from self._lane(Stage.LLM, lanes)
        speech = _Speech(self._work, self._env.now, self._growth)
        self._env.process(self._written(lanes, container))
        for ready_s, chunk_s in speech.chunks(self._env):
            if ready_s > self._env.now:
                yield self._env.timeout(ready_s - self._env.now)
            if not (yield from self._spoken(seat, chunk_s)):
                return
            if self._played.first_audio_s is None:
                self._played.first_audio_s = self._env.now - began_s

    def _written(self, lanes: Lanes, container: Container) -> Steps:
        yield self._env.timeout(self._work.llm_s)
        lanes.end()
        self._apps.leave(Stage.LLM, container)

    def _spoken(self, seat: Container, chunk_s: float) -> Working:
        container = yield from self._apps.enter(Stage.TTS, seat, self._played)
        if container is None:
            return False
        lanes: Lanes = container.engines[Stage.TTS]
        yield from self._lane(Stage.TTS, lanes)
        yield self._env.timeout(self._work.tts_s * chunk_s / self._work.reply_s)
        lanes.end()
        self._apps.leave(Stage.TTS, container)
        return True

    def _lane(self, stage: Stage, lanes: Lanes) -> Steps:
        if not lanes.take():
            asked_s = self._env.now
            yield lanes.wait()
            self._waited(stage, self._env.now - asked_s)

    def _waited(self, stage: Stage, waited_s: float) -> None:
        if self._played.first_audio_s is None:
            self._played.waited_s[stage] += waited_s


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
