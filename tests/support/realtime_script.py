"""A server of the Realtime protocol that says what a test wants, in the documented order of events."""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.sounds import Samples

HZ = 24_000
PIECE = 2_400  # samples of an audio delta: 100 ms

Event = dict[str, Any]


class Session:
    """One client's session: what it sent, and what it is sent."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._came = asyncio.Condition()
        self.events: list[Event] = []  # all that came but audio
        self.audio = bytearray()
        self.closed = False
        self._numbers: Counter[str] = Counter()

    async def receive(self) -> None:
        """Take what comes until the client is gone."""
        try:
            while True:
                event = await self._socket.receive_json()
                async with self._came:
                    if event["type"] == "input_audio_buffer.append":
                        self.audio += base64.b64decode(event["audio"])
                    else:
                        self.events.append(event)
                    self._came.notify_all()
        except WebSocketDisconnect:
            async with self._came:
                self.closed = True
                self._came.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what came fulfils the condition."""
        async with asyncio.timeout(30), self._came:
            await self._came.wait_for(condition)

    async def event(self, kind: str) -> Event:
        """The first event of this type, once it has come."""
        await self.until(lambda: any(event["type"] == kind for event in self.events))
        return next(event for event in self.events if event["type"] == kind)

    async def microphone(self, duration_s: float) -> None:
        """Wait for so much more of what the microphone records."""
        enough = len(self.audio) + round(duration_s * HZ) * 2
        await self.until(lambda: len(self.audio) >= enough)

    @property
    def recorded_ms(self) -> int:
        """How much audio has come."""
        return len(self.audio) // 2 * 1000 // HZ

    async def send(self, kind: str, **fields: object) -> None:
        """One event."""
        await self._socket.send_json({"type": kind, "event_id": self._id("event"), **fields})

    async def speech_started(self) -> None:
        """The person begins to speak."""
        await self.send(
            "input_audio_buffer.speech_started", item_id="item_next", audio_start_ms=self.recorded_ms
        )

    async def hear(self, *words: str, pause_ms: int = 500) -> None:
        """The person has spoken, until `pause_ms` ago, and is transcribed."""
        item_id = self._id("item")
        await self.send("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=0)
        await self.microphone(pause_ms / 1000 + 0.1)
        await self.send(
            "input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=self.recorded_ms - pause_ms
        )
        await self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        at = {"item_id": item_id, "content_index": 0}
        transcribed = "conversation.item.input_audio_transcription"
        for word in words:
            await self.send(f"{transcribed}.delta", **at, delta=word)
        usage = {"type": "duration", "seconds": 1.0}
        await self.send(f"{transcribed}.completed", **at, transcript="".join(words), usage=usage)

    async def begin_answer(self) -> "Answer":
        """A response with one spoken item."""
        answer = Answer(self, self._id("resp"), self._id("item"))
        response = {"object": "realtime.response", "id": answer.response_id, "status": "in_progress"}
        await self.send("response.created", response={**response, "output": []})
        return answer

    async def answer(self, text: str, sound: Samples) -> None:
        """A whole response, faster than it can be played."""
        answer = await self.begin_answer()
        await answer.words(text)
        await answer.sound(sound)
        await answer.end()

    async def close(self, code: int, reason: str = "") -> None:
        """Hang up."""
        await self._socket.close(code, reason)

    def _id(self, kind: str) -> str:
        self._numbers[kind] += 1
        return f"{kind}_{self._numbers[kind]}"


class Answer:
    """A response that is under way."""

    def __init__(self, session: Session, response_id: str, item_id: str) -> None:
        self._session = session
        self.response_id, self.item_id = response_id, item_id
        self._at = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}

    async def words(self, *words: str) -> None:
        for word in words:
            await self._session.send("response.output_audio_transcript.delta", **self._at, delta=word)

    async def sound(self, samples: Samples) -> None:
        """Samples at 24 kHz, in pieces."""
        pcm = np.round(samples * 32_767).astype("<i2")
        for start in range(0, len(pcm), PIECE):
            delta = base64.b64encode(pcm[start : start + PIECE].tobytes()).decode()
            await self._session.send("response.output_audio.delta", **self._at, delta=delta)

    async def end(self, status: str = "completed", **details: object) -> None:
        await self._session.send("response.output_audio.done", **self._at)
        response: Event = {
            "id": self.response_id,
            "status": status,
            "status_details": details or None,
            "output": [],
        }
        await self._session.send("response.done", response=response)


Script = Callable[[Session], Awaitable[None]]


class ScriptedServer:
    """Its sessions go as the scripts say, each the next one's, the last for all that follow.

    `refusals` are the answers to the first requests for a client secret; with a `key`, only who has it gets
    one.
    """

    def __init__(
        self, *scripts: Script, refusals: list[tuple[int, object]] | None = None, key: str = ""
    ) -> None:
        self._scripts = scripts
        self._refusals = refusals or []
        self._key = key
        self.secrets_wanted: list[Event] = []
        self.subprotocols: list[list[str]] = []
        self.sessions: list[Session] = []

    def app(self, *routes: BaseRoute) -> Starlette:
        """The server, with routes of others."""
        secrets = Route("/v1/realtime/client_secrets", self._secret, methods=["POST"])
        return Starlette(routes=[secrets, WebSocketRoute("/v1/realtime", self._session), *routes])

    async def _secret(self, request: Request) -> Response:
        self.secrets_wanted.append(await request.json())
        if self._refusals:
            status, body = self._refusals.pop(0)
            return JSONResponse(body, status)
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return JSONResponse({"error": {"code": "invalid_api_key", "message": "Wrong."}}, 401)
        return JSONResponse({"value": "ek_scripted", "expires_at": 0, "session": {"type": "realtime"}})

    async def _session(self, socket: WebSocket) -> None:
        self.subprotocols.append(socket.scope["subprotocols"])
        await socket.accept("realtime")
        session = Session(socket)
        self.sessions.append(session)
        receiving = asyncio.create_task(session.receive())
        await session.send("session.created", session={"type": "realtime", "object": "realtime.session"})
        try:
            await self._scripts[min(len(self.sessions), len(self._scripts)) - 1](session)
            await receiving
        except (WebSocketDisconnect, RuntimeError):  # the page has hung up
            pass
        finally:
            receiving.cancel()
