"""One client for all servers of the OpenAI protocol: vLLM beside us, OpenAI's, anyone's."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from services.llm.chat_errors import speech_error
from shared.errors import BadRequest, SpeechError, Stage, StageFailed
from shared.payloads import ChatMessage

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

OPENAI_CLIENT = "openai==3.54.0"
"""The package of an engine that uses this."""

KEEP_ALIVE_S = 60.0
"""How long an idle connection is kept: as long as people may think between two turns."""

_CONNECT_TIMEOUT_S = 5.0
_CLOSING_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class ChatApi:
    """Streams replies of one model on one server, any number at once, on one event loop.

    It retries nothing: the turn does that, as long as nothing has been spoken.
    """

    def __init__(
        self, base_url: str, api_key: str, model: str, *, server: str, timeout_s: float, direct: bool = False
    ) -> None:
        """`server` is what a person calls the server; `timeout_s` how long it may take for its next token;
        `direct` connections pass by the proxies that the environment names.

        Raises Misconfigured if the base URL is none.
        """
        import httpx2
        import openai

        self._model = model
        self._server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_S), trust_env=not direct
            ),
        )
        self._completions = self._client.chat.completions  # imports half of the library

    async def reply(
        self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float
    ) -> AsyncGenerator[str, None]:
        """The reply's text as it is written, until the model ends it or has written `max_tokens`.

        Closing the generator closes the connection, which is how a server is told to stop.
        Raises SpeechError, also in the middle of the reply.
        """
        self._loop = asyncio.get_running_loop()
        said, finish_reason = False, None
        with self._typed_errors():
            stream = await self._completions.create(
                model=self._model,
                messages=as_openai(messages),
                max_tokens=max_tokens,
                temperature=temperature,
                stream=True,
            )
            async with stream:
                async for chunk in stream:
                    for choice in chunk.choices[:1]:  # none in a chunk that tells of usage
                        if text := choice.delta.content:
                            said = True
                            yield text
                        finish_reason = choice.finish_reason or finish_reason
        self._check_end(finish_reason, said)

    async def post(self, url: str, body: object) -> Any:
        """What the server answers to JSON at another of its addresses, decoded. Raises SpeechError."""
        import httpx2

        self._loop = asyncio.get_running_loop()
        with self._typed_errors():
            response = await self._client.post(url, cast_to=httpx2.Response, body=body)
            return response.json()

    def close(self) -> None:
        """Close the connections; from any thread, also while replies are under way."""
        loop, self._loop = self._loop, None
        if loop is None or not loop.is_running():
            return
        closing = asyncio.run_coroutine_threadsafe(self._client.close(), loop)
        if loop is not _running_loop():
            closing.result(_CLOSING_TIMEOUT_S)

    def _check_end(self, finish_reason: str | None, said: bool) -> None:
        match finish_reason:
            case None:
                raise StageFailed(f"{self._server} broke off in the middle of a reply.", Stage.LLM)
            case "length":
                _log.info("%s reached the token limit of a reply", self._server)
            case "content_filter" if not said:
                raise BadRequest(f"The content filter of {self._server} let no reply pass.", Stage.LLM)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except SpeechError:
            raise
        except Exception as error:
            raise speech_error(error, self._server) from error


def as_openai(messages: Sequence[ChatMessage]) -> "list[ChatCompletionMessageParam]":
    """The messages as the protocol has them."""
    told = [{"role": message.role, "content": message.content} for message in messages]
    return cast("list[ChatCompletionMessageParam]", told)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
