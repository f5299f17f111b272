"""One long TTS call a turn, whose chunks come through a queue, against a call for each chunk.

The product has the latter. `python -m bench.tts_stream` runs this app on the local cloud, where each call
takes CALL_S longer: one turn at a time, then PEOPLE at once over CONTAINERS containers. On Modal it is
`modal run -m bench.tts_stream`. Transcript and reply are simulated where the turn runs.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import astuple, dataclass
from typing import Annotated
from uuid import uuid4

import modal
import numpy as np
import typer
from rich.console import Console

from bench.designs import Times, overlapped
from bench.simulated_stages import SimulatedStages, reply_of
from bench.timed_engines import TimedTTS
from orchestrator.remote_stream import RemoteStreams
from services.host.tts_host import TTSHost
from services.on_modal import service
from services.on_modal.images import orchestrator_image
from shared.engines import RegisteredModel
from shared.errors import Stage
from shared.payloads import Speech
from shared.settings import settings
from shared.stage_stream import StageFinished, StageItem, StageStarted, StageStream

REPLY_SENTENCES = (1, 3, 8)
CALL_S = 0.040
"""How much longer a call takes on the local cloud: Modal publishes a median of 39 ms for its web functions,
which go through the same control plane."""

CONTAINERS = 2
PEOPLE = 6
STAGGER_S = 4.0
THINK_S = (1.5, 4.5)
"""Under load each person begins within this time of the others, and asks again after a while of THINK_S."""

NAME = "speech-to-speech-bench"
app = modal.App(NAME)
image = orchestrator_image(settings()).add_local_python_source("bench")


class Voice(service.ModalService):
    """A TTS that takes its time, one chunk at a time."""

    registered = RegisteredModel(Stage.TTS, "timed", TimedTTS)
    host_type = TTSHost
    host: TTSHost
    start = modal.enter()(service.ModalService.load_engine)


@app.cls(image=image, include_source=False, scaledown_window=60, max_containers=CONTAINERS)
@modal.concurrent(max_inputs=2, target_inputs=1)
class CalledVoice(Voice):
    """As the product's: a container takes one call more than it works on."""

    synthesize = modal.method()(service.served(TTSHost.synthesize_mp3))


@app.cls(image=image, include_source=False, scaledown_window=60, max_containers=CONTAINERS)
@modal.concurrent(max_inputs=PEOPLE, target_inputs=1)
class StreamedVoice(Voice):
    """A turn's call is open while nothing is there to synthesize, so a container takes all that come."""

    @modal.method()
    async def synthesize_queued(self, texts: modal.Queue) -> StageStream:
        """The chunks that come through the queue, in this attempt's partition, until None comes."""
        attempt_id = uuid4().hex
        yield StageStarted(attempt_id=attempt_id, call_id=modal.current_function_call_id() or "")
        while (text := await texts.get.aio(partition=attempt_id, timeout=60)) is not None:
            async with aclosing(self.host.synthesize_mp3(text)) as items:
                async for item in items:
                    if not isinstance(item, StageStarted):
                        yield item.model_copy(update={"attempt_id": attempt_id})


class Called(SimulatedStages):
    """A call for each chunk, as the product's."""

    def __init__(self, reply: str, streams: RemoteStreams) -> None:
        super().__init__(reply)
        self._streams = streams

    async def synthesize(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> AsyncGenerator[StageItem, None]:
        """The call."""
        async with aclosing(self._streams.stream(CalledVoice().synthesize, text, stage=Stage.TTS)) as items:
            async for item in items:
                yield item


class Streamed(SimulatedStages):
    """One call for a turn, begun with the transcription."""

    def __init__(self, reply: str, streams: RemoteStreams, texts: modal.Queue) -> None:
        super().__init__(reply)
        self._items = streams.stream(StreamedVoice().synthesize_queued, texts, stage=Stage.TTS)
        self._texts = texts
        self._starting: asyncio.Task[StageItem] | None = None

    async def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> AsyncGenerator[StageItem, None]:
        """Beside it, the TTS starts."""
        self._starting = asyncio.ensure_future(anext(self._items))
        async with aclosing(super().transcribe(audio, language=language, word_times=word_times)) as items:
            async for item in items:
                yield item

    async def synthesize(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> AsyncGenerator[StageItem, None]:
        """The next chunk of the turn's call."""
        assert self._starting is not None
        started = await self._starting
        yield started
        await self._texts.put.aio(text, partition=started.attempt_id)
        async for item in self._items:
            yield item
            if isinstance(item, StageFinished):
                return

    async def close(self) -> None:
        """The turn has ended."""
        assert self._starting is not None
        await self._texts.put.aio(None, partition=self._starting.result().attempt_id)
        async for _ in self._items:
            raise AssertionError("nothing follows the last chunk")


@dataclass(frozen=True)
class Played:
    """Turns of one way; times in ms."""

    way: str
    sentences: int
    people: int
    first_p50_ms: float
    first_p95_ms: float
    last_p50_ms: float
    last_p95_ms: float


@app.function(image=image, include_source=False, timeout=900)
async def play(way: str, sentences: int, people: int, rounds: int) -> Played:
    """Turns of so many people at once. The first round is the warm-up."""
    streams, turn, reply = RemoteStreams(60.0), overlapped(), reply_of(sentences)
    texts = modal.Queue.from_name(NAME, create_if_missing=True)
    await texts.hydrate.aio()

    async def one_turn() -> Times:
        if way == "called":
            return await turn(Called(reply, streams))
        stages = Streamed(reply, streams, texts)
        times = await turn(stages)
        await stages.close()
        return times

    async def one_person(number: int) -> list[Times]:
        chance, played = random.Random(number), []
        await asyncio.sleep(STAGGER_S * number / people)
        for _ in range(rounds + 1):
            played.append(await one_turn())
            await asyncio.sleep(chance.uniform(*THINK_S) if people > 1 else 0)
        return played[1:]

    played = await asyncio.gather(*(one_person(number) for number in range(people)))
    await streams.close()
    times_ms = 1000 * np.array([astuple(times) for own in played for times in own])
    (first_p50, last_p50), (first_p95, last_p95) = np.percentile(times_ms, (50, 95), axis=0).tolist()
    return Played(way, sentences, people, first_p50, first_p95, last_p50, last_p95)


@app.local_entrypoint()
def main(rounds: int = 10) -> None:
    """Measure, and print the figures as a table."""
    from bench.tables import figures_table  # imports more than the containers have

    table = figures_table(
        "Turns by how the TTS is called (ms)",
        "sentences", "people", "TTS", "first audio p50", "p95", "last audio p50", "p95",
    )  # fmt: skip
    for sentences, people in [*((sentences, 1) for sentences in REPLY_SENTENCES), (3, PEOPLE)]:
        for way in ("called", "streamed"):
            one = play.remote(way, sentences, people, rounds)
            times = (one.first_p50_ms, one.first_p95_ms, one.last_p50_ms, one.last_p95_ms)
            table.add_row(str(sentences), str(people), way, *(f"{time_ms:.0f}" for time_ms in times))
    Console(width=None if Console().is_terminal else 100).print(table)


def on_the_local_cloud(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each kind, and person.")] = 10,
    queue_ms: Annotated[float, typer.Option(min=0, help="How much longer the queue takes.")] = 0.0,
) -> None:
    """Compare one TTS call a turn with one a chunk, on the local cloud; about ten minutes."""
    from local_cloud import DEFAULT_CACHE, ControlPlane

    with (
        ControlPlane(cache=DEFAULT_CACHE) as plane,
        plane.slow_network(CALL_S, "FunctionMap"),
        plane.slow_network(queue_ms / 1000, "QueuePut"),
    ):
        command = [sys.executable, "-m", "modal", "run", "--quiet", "-m", "bench.tts_stream"]
        subprocess.run([*command, "--rounds", str(rounds)], env=os.environ | plane.environ, check=True)


if __name__ == "__main__":
    typer.run(on_the_local_cloud)
