"""The span of one stage call, on either side of it: the caller's, or that of the service."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal

from shared.errors import SpeechError, Stage, StageFailed
from shared.stage_stream import StageFinished, StageItem, StageStarted
from shared.telemetry import (
    INPUT_TOKENS,
    LLM_DURATION,
    LLM_FIRST_OUTPUT,
    OUTPUT_TOKENS,
    SPEECH_DURATION,
    record,
    start_span,
)

OPERATIONS: Final = {Stage.ASR: "speech_to_text", Stage.LLM: "chat", Stage.TTS: "text_to_speech"}
"""What the conventions call a call of each stage. They have no word yet for the first and the last: these are
proposed."""

PROVIDER: Final = "speech-to-speech"
"""Who serves the models, seen from a turn: we do, whatever an engine calls in its turn."""

_OUTPUT_TYPES: Final = {Stage.ASR: "text", Stage.LLM: "text", Stage.TTS: "speech"}


@contextmanager
def stage_span(
    stage: Stage, kind: Literal["client", "server"], traceparent: str | None = None
) -> Iterator["StageSpan"]:
    """The span of the stage call in the block. An async generator may yield in it."""
    call = StageSpan(stage, kind, traceparent)
    try:
        yield call
    except (GeneratorExit, asyncio.CancelledError):
        call.end(cancelled=True)
        raise
    except Exception as error:
        call.end(error if isinstance(error, SpeechError) else StageFailed(type(error).__name__, stage))
        raise
    else:
        call.end()


class StageSpan:
    """Observes what a stage call yields."""

    def __init__(self, stage: Stage, kind: Literal["client", "server"], traceparent: str | None) -> None:
        self._name = OPERATIONS[stage] if kind == "client" else f"serve {stage}"
        self._span = start_span(self._name, kind=kind, traceparent=traceparent)
        self._is_kept = self._span.traceparent is not None
        if not self._is_kept:
            return
        self._stage = stage
        self._kind = kind
        self._began_s = time.monotonic()
        self._described = {"gen_ai.operation.name": OPERATIONS[stage], "gen_ai.provider.name": PROVIDER}
        self._span.set({**self._described, "gen_ai.output.type": _OUTPUT_TYPES[stage]})
        self._has_started = self._has_output = False

    def current(self) -> AbstractContextManager[None]:
        """See `Span.current`: what the call asks of another process belongs to it."""
        return self._span.current()

    def observe(self, item: StageItem) -> None:
        """The call yields this now."""
        if not self._is_kept:
            return
        if isinstance(item, StageStarted):
            self._started(item)
        elif isinstance(item, StageFinished):
            self._finished(item)
        elif not self._has_output:
            self._has_output = True
            self._first_output()

    def end(self, error: SpeechError | None = None, *, cancelled: bool = False) -> None:
        """The call is over."""
        if not self._is_kept:
            return
        if error:
            self._span.fail(error)
        self._span.set({"s2s.cancelled": cancelled or None})
        self._span.end()
        if self._kind == "client" and not cancelled:
            metric = LLM_DURATION if self._stage is Stage.LLM else SPEECH_DURATION
            error_type = error.kind if error else None
            record(metric, time.monotonic() - self._began_s, {**self._described, "error.type": error_type})

    def _started(self, item: StageStarted) -> None:
        if self._has_started:
            self._span.event("restarted")
            return
        self._has_started = True
        self._described["gen_ai.request.model"] = item.model
        waited_s = time.monotonic() - self._began_s
        self._span.rename(f"{self._name} {item.model}")
        self._span.set(
            {"gen_ai.request.model": item.model, "s2s.cold_start": item.cold, "s2s.start_s": waited_s}
        )
        self._span.event("started")

    def _finished(self, item: StageFinished) -> None:
        self._span.set({"s2s.busy_s": item.busy_us / 1e6})
        if item.tokens is None:
            return
        read, written = item.tokens.input_tokens, item.tokens.output_tokens
        self._span.set({"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written})
        if self._kind == "client":
            described = {**self._described, "gen_ai.token.modality": "text"}
            record(INPUT_TOKENS, read, described)
            record(OUTPUT_TOKENS, written, described)

    def _first_output(self) -> None:
        self._span.event("first output")
        if self._stage is Stage.LLM and self._kind == "client":
            first_s = time.monotonic() - self._began_s
            self._span.set({"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": first_s})
            record(LLM_FIRST_OUTPUT, first_s, self._described)
