"""Errors of a server of the OpenAI chat protocol as typed errors."""

import json
import re
from typing import TYPE_CHECKING

from shared.errors import (
    BadRequest,
    Misconfigured,
    Overloaded,
    SpeechError,
    Stage,
    StageFailed,
    StageTimedOut,
    TooLong,
)

if TYPE_CHECKING:
    import openai

_CONTEXT_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|(maximum|exceed\w*|available) (\w+ )*context", re.IGNORECASE
)
"""OpenAI's code, llama.cpp's type, and the messages of vLLM and others."""


def speech_error(error: Exception, server: str) -> SpeechError:
    """The error as a SpeechError; `server` is the server's name in messages. An unknown exception becomes
    StageFailed, for the answer of a broken server can fail in any way."""
    kind, message = _kind_and_message(error, server)
    return kind(message, Stage.LLM)


def _kind_and_message(error: Exception, server: str) -> tuple[type[SpeechError], str]:
    import openai

    match error:
        case openai.APITimeoutError():
            return StageTimedOut, f"{server} did not answer in time."
        case openai.APIConnectionError():
            return StageFailed, f"The connection to {server} failed: {_cause(error)}."
        case openai.APIStatusError():
            return _by_status(error, server)
        case openai.APIError():
            return StageFailed, f"{server} broke off: {_detail(error)}"
        case json.JSONDecodeError() | openai.OpenAIError() | ValueError() | TypeError() | AttributeError():
            return StageFailed, f"{server} sent a malformed answer ({type(error).__name__})."
        case _:
            return StageFailed, f"{server}: {error!r}"


def _by_status(error: "openai.APIStatusError", server: str) -> tuple[type[SpeechError], str]:
    detail = _detail(error)
    match error.status_code:
        case 401 | 403:
            return Misconfigured, f"{server} does not accept the key (OPENAI_API_KEY): {detail}"
        case 404:
            return Misconfigured, f"{server} has no such model or address: {detail}"
        case 429 if error.code == "insufficient_quota":
            return Misconfigured, f"The account at {server} has no credit left: {detail}"
        case 429:
            return Overloaded, f"{server} is overloaded or limits our rate: {detail}"
        case 400 | 413 if _CONTEXT_OVERFLOW.search(f"{error.code} {error.type} {detail}"):
            return TooLong, f"The conversation is too long for {server}: {detail}"
        case 408 | 409:
            return StageFailed, f"{server} did not take the request: {detail}"
        case status if status < 500:
            return BadRequest, f"{server} refuses the request ({status}): {detail}"
        case status:
            return StageFailed, f"{server} failed ({status}): {detail}"


def _detail(error: "openai.APIError") -> str:
    """The server's own message, without the HTML of a proxy in between."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message") or ("no details" if "<" in error.message else error.message)
    return " ".join(str(message).split())[:500]


def _cause(error: Exception) -> str:
    cause = error.__cause__
    return (str(cause) or type(cause).__name__) if cause else str(error).rstrip(".")
