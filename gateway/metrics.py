"""What the gateway counts, for Prometheus: sessions, turns, where their time went, queue, requests, errors.

Nothing here is about one person: labels are kinds, outcomes, stages and routes, so there are few of each.
"""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conversation.reply import TurnSource
from shared.errors import Stage
from shared.ledger import Ledger
from shared.turn import NoSpeechDetected, StageWaiting, TurnEnd, TurnEvent, TurnFailed, TurnRequest

_WAIT_S: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0)
_SPAN_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which says when it began


class Metrics:
    """The figures of one gateway, in a registry of their own. For one event loop."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._sessions = Gauge("s2s_sessions", "Open Realtime sessions.", ["type"], registry=registry)
        self._opened = Counter("s2s_sessions_opened", "Realtime sessions.", ["type"], registry=registry)
        self._running = Gauge("s2s_turns_running", "Turns under way.", registry=registry)
        self._turns = Counter("s2s_turns", "Turns, by how they ended.", ["outcome"], registry=registry)
        self._spans = Histogram(
            "s2s_turn_span_seconds",
            "Spans of turns' critical paths, by stage and activity.",
            ["stage", "activity"],
            buckets=_SPAN_S,
            registry=registry,
        )
        self._first_audio = Histogram(
            "s2s_time_to_first_audio_seconds",
            "From a turn's request to the first audio of its reply.",
            buckets=_WAIT_S,
            registry=registry,
        )
        self._voice_to_voice = Histogram(
            "s2s_voice_to_voice_seconds",
            "From the end of a person's speech to the first audio of the reply that is sent.",
            buckets=_WAIT_S,
            registry=registry,
        )
        self._queue = Gauge(
            "s2s_queue",
            "Turns and requests that wait for a stage to start: for a free engine, or for a cold start.",
            ["stage"],
            registry=registry,
        )
        self._requests = Counter(
            "s2s_requests", "HTTP requests, by route and status.", ["route", "status"], registry=registry
        )
        self._request_s = Histogram(
            "s2s_request_seconds",
            "HTTP requests, to the last byte of the answer.",
            ["route"],
            buckets=_WAIT_S,
            registry=registry,
        )
        self._errors = Counter("s2s_errors", "Errors that clients were sent.", ["code"], registry=registry)
        for stage in (Stage.ASR, Stage.LLM, Stage.TTS):
            self._queue.labels(stage)

    @contextmanager
    def session(self, kind: Literal["realtime", "transcription"]) -> Iterator[None]:
        """Count a session while the block lasts."""
        self._opened.labels(kind).inc()
        with self._sessions.labels(kind).track_inprogress():
            yield

    def counted(self, turns: TurnSource) -> TurnSource:
        """The same turns, counted. One that is closed before its end has the outcome "cancelled": it was
        interrupted, or its speaker had not finished."""

        async def stream(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
            outcome, waiting = "cancelled", Waiting(self)
            try:
                with self._running.track_inprogress():
                    async with aclosing(turns(request)) as events:
                        async for event in events:
                            waiting.end()
                            if isinstance(event, StageWaiting):
                                waiting.begin(event.stage)
                            elif isinstance(event, TurnEnd):
                                outcome = self._ended(request, event)
                            yield event
            finally:
                waiting.end()
                self._turns.labels(outcome).inc()

        return stream

    def voice_to_voice(self, duration_s: float) -> None:
        """A reply's first audio is sent, so many seconds after its question's end."""
        self._voice_to_voice.observe(duration_s)

    def error(self, code: str) -> None:
        """A client is sent an error; `code` is one of ours, never text of a client."""
        self._errors.labels(code).inc()

    def waiting(self, stage: Stage, change: Literal[1, -1]) -> None:
        """One more, or one less, waits for the stage to start."""
        self._queue.labels(stage).inc(change)

    def request(self, route: str, status: int, duration_s: float) -> None:
        """An HTTP request has been answered; `route` is its pattern, "" if there is none."""
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(duration_s)

    def exposition(self) -> bytes:
        """All figures, in Prometheus's text format."""
        return generate_latest(self._registry)

    def _ended(self, request: TurnRequest, end: TurnEnd) -> str:
        self._observe(end.ledger)
        match end:
            case TurnFailed():
                return "failed"
            case NoSpeechDetected():
                return "no_speech"
        return "transcribed" if request.transcribe_only else "completed"

    def _observe(self, ledger: Ledger) -> None:
        for span in ledger.spans:
            self._spans.labels(span.stage, span.activity).observe(span.duration_us / 1e6)
        if ledger.time_to_first_audio_us is not None:
            self._first_audio.observe(ledger.time_to_first_audio_us / 1e6)


class Waiting:
    """One turn's or request's place in the queue, while it has one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage: Stage | None = None

    def begin(self, stage: Stage) -> None:
        """It waits for the stage."""
        self.end()
        self._stage = stage
        self._metrics.waiting(stage, 1)

    def end(self) -> None:
        """It waits no longer. Without effect if it does not."""
        if self._stage is not None:
            self._metrics.waiting(self._stage, -1)
            self._stage = None


class CountRequests:
    """ASGI middleware that counts HTTP requests by their routes."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_s = 499, time.monotonic()  # 499: the client left before there was an answer

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._metrics.request(route, status, time.monotonic() - began_s)
