"""A client of the Realtime protocol for tests, and a gateway on a free port, over scripted stages.

Every event that it gets is validated against `openai.types.realtime`.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import websockets
from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter

from bench.sounds import example
from conversation.turn_detection import TurnModel
from conversation.vad import OwnVad, Vad
from gateway.access import Access
from gateway.backend import Backend
from gateway.server import Gateway
from gateway.serving import gateway_config
from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm, as_int16, resample
from shared.errors import Stage
from shared.settings import Settings
from tests.support.scripted_stages import Cast
from tests.support.serving import running

QUESTION = example("what-is-two-plus-two")
OTHER_QUESTION = example("what-is-six-times-seven")
SILENCE_S = 1.2
"""Ends a turn, at the usual 0.5 s."""
GIVE_UP_S = 20.0

_SERVER_EVENTS: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])

Event = dict[str, Any]


def pcm24(pcm: Pcm) -> bytes:
    """As a client sends it."""
    return as_int16(resample(pcm, 24_000).samples).tobytes()


def silence(duration_s: float) -> bytes:
    return bytes(2 * round(24_000 * duration_s))


def said(pcm: Pcm = QUESTION, then_s: float = SILENCE_S) -> bytes:
    """Somebody says this, and falls silent."""
    return silence(0.3) + pcm24(pcm) + silence(then_s)


@dataclass
class Client:
    """One connection; what came over it."""

    socket: websockets.ClientConnection
    events: list[Event] = field(default_factory=list)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def update(self, **session: Any) -> Event:
        """Change the session; returns what it then is."""
        await self.send("session.update", session={"type": "realtime", **session})
        updated: Event = (await self.until("session.updated"))["session"]
        return updated

    async def speak(self, audio: bytes, piece_s: float = 0.1) -> None:
        """Send audio, faster than anybody can speak it."""
        size = 2 * round(24_000 * piece_s)
        for start in range(0, len(audio), size):
            piece = base64.b64encode(audio[start : start + size]).decode()
            await self.send("input_audio_buffer.append", audio=piece)

    async def next(self) -> Event:
        event: Event = json.loads(await asyncio.wait_for(self.socket.recv(), GIVE_UP_S))
        _SERVER_EVENTS.validate_python(event)
        assert event["event_id"]
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Event:
        """The next event of this kind; what comes before it is kept."""
        while True:
            event = await self.next()
            if event["type"] == kind:
                return event
            assert event["type"] != "error" or kind == "error", event

    async def error(self) -> Event:
        error: Event = (await self.until("error"))["error"]
        return error

    def of(self, kind: str) -> list[Event]:
        """All events of this kind that have come."""
        return [event for event in self.events if event["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        """The kinds of events that have come, each once where it was repeated."""
        kinds = [event["type"] for event in self.events]
        return [kind for before, kind in zip(["", *kinds], kinds, strict=False) if kind != before]

    @property
    def transcript(self) -> str:
        """The words of what is spoken."""
        return "".join(event["delta"] for event in self.of("response.output_audio_transcript.delta"))

    @property
    def audio(self) -> bytes:
        """All audio that has come."""
        return b"".join(base64.b64decode(event["delta"]) for event in self.of("response.output_audio.delta"))


@dataclass
class Served:
    """A gateway that runs."""

    gateway: Gateway
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @asynccontextmanager
    async def client(self, query: str = "?model=gpt-realtime", **how: Any) -> AsyncIterator[Client]:
        """A client whose session has been created."""
        async with websockets.connect(self.url + query, **how) as socket:
            client = Client(socket)
            await client.until("session.created")
            yield client


@asynccontextmanager
async def serving(
    scripted: Cast,
    turn_model: TurnModel | None = None,
    new_vad: Callable[[], Vad] = OwnVad,
    **settings: Any,
) -> AsyncIterator[Served]:
    """A gateway over scripted stages, on a free port. The usual voice is quick: this is real time."""
    scripted.tts.slowness = 0.02
    chosen = Settings(**settings)
    backend = Backend(
        stages=scripted,
        turns=Pipeline(scripted, chosen).stream,
        turn_model=turn_model,
        settings=chosen,
        model_names=MappingProxyType(dict.fromkeys((Stage.ASR, Stage.LLM, Stage.TTS), "scripted")),
        new_vad=new_vad,
    )
    gateway = Gateway(backend, Access(chosen))
    async with running(gateway_config(gateway.app)) as port:
        yield Served(gateway, port)
    assert not scripted.under_way


def kinds_of(events: Sequence[Event]) -> list[str]:
    return [event["type"] for event in events]


def loudness(audio: bytes) -> float:
    return float(np.abs(np.frombuffer(audio, "<i2").astype(np.float32)).max() / 32_768)
