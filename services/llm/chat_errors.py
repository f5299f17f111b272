"""What goes wrong with a server of the OpenAI protocol, in the words of this product."""

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
"""OpenAI's code, llama.cpp's type, and what vLLM and others write."""


def speech_error(error: Exception, server: str) -> SpeechError:
    """The error as one of ours; `server` is what a person calls it. Other exceptions come back as
    StageFailed, for the answer of a broken server can fail in any way."""
    kind, message = _told(error, server)
    return kind(message, Stage.LLM)


def _told(error: Exception, server: str) -> tuple[type[SpeechError], str]:
    import openai

    match error:
        case openai.APITimeoutError():
            return StageTimedOut, f"{server} gave no answer in time."
        case openai.APIConnectionError():
            return StageFailed, f"The connection to {server} failed: {_cause(error)}."
        case openai.APIStatusError():
            return _told_by_status(error, server)
        case openai.APIError():
            return StageFailed, f"{server} broke off: {_said(error)}"
        case json.JSONDecodeError() | openai.OpenAIError() | ValueError() | TypeError() | AttributeError():
            return StageFailed, f"{server} sent something that is no answer ({type(error).__name__})."
        case _:
            return StageFailed, f"{server}: {error!r}"


def _told_by_status(error: "openai.APIStatusError", server: str) -> tuple[type[SpeechError], str]:
    said = _said(error)
    match error.status_code:
        case 401 | 403:
            return Misconfigured, f"{server} does not accept the key (OPENAI_API_KEY): {said}"
        case 404:
            return Misconfigured, f"{server} has no such model or address: {said}"
        case 429 if error.code == "insufficient_quota":
            return Misconfigured, f"The account at {server} has nothing left to spend: {said}"
        case 429:
            return Overloaded, f"{server} takes no more requests for now: {said}"
        case 400 | 413 if _CONTEXT_OVERFLOW.search(f"{error.code} {error.type} {said}"):
            return TooLong, f"The conversation is too long for {server}: {said}"
        case 408 | 409:
            return StageFailed, f"{server} did not take the request: {said}"
        case status if status < 500:
            return BadRequest, f"{server} refuses the request ({status}): {said}"
        case status:
            return StageFailed, f"{server} is out of order ({status}): {said}"


def _said(error: "openai.APIError") -> str:
    """The server's own words, without the HTML of a proxy before it."""
    body = error.body if isinstance(error.body, dict) else {}
    said = body.get("message") or ("no details" if "<" in error.message else error.message)
    return " ".join(str(said).split())[:500]


def _cause(error: Exception) -> str:
    cause = error.__cause__
    return (str(cause) or type(cause).__name__) if cause else str(error).rstrip(".")
