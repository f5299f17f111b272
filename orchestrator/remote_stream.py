"""Streams of Modal's generators that stop where they run when they are closed here."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import modal

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_CANCELLING = 1_000


class RemoteStreams:
    """Calls remote generators, and cancels those that are closed before their end.

    Closing a remote generator leaves it running (measured with modal 1.6.4): it has to be cancelled by
    its call id, which its own first item tells. So a call that is closed before its first item stays
    watched until that item comes, for `first_item_s` at most, and is cancelled then. None of this is
    waited for; `close` waits for what is left of it.
    """

    def __init__(self, first_item_s: float) -> None:
        self._first_item_s = first_item_s
        self._cancelling: set[asyncio.Task[None]] = set()

    async def stream(
        self,
        function: modal.Function[..., Any, Any],
        *arguments: Any,
        call_id: Callable[[T], str],
        last: type[Any],
        **keywords: Any,
    ) -> AsyncGenerator[T, None]:
        """Yield what the remote generator yields. `call_id` reads the id off its first item; after an
        item of type `last` there is nothing left to cancel."""
        remote: AsyncGenerator[T, None] = function.remote_gen.aio(*arguments, **keywords)
        first = asyncio.create_task(_next(remote))
        ended = False
        try:
            item = await asyncio.shield(first)
            while item is not None:
                ended = isinstance(item, last)
                yield item
                item = await _next(remote)
            ended = True
        except Exception:
            ended = True
            raise
        finally:
            if ended:
                await remote.aclose()
            else:
                self._cancel_soon(remote, first, call_id)

    async def close(self, within_s: float = 5.0) -> None:
        """Wait until what was closed early is cancelled, and give up on what takes longer."""
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=within_s)
        for task in list(self._cancelling):
            task.cancel()
        await asyncio.gather(*self._cancelling, return_exceptions=True)

    def _cancel_soon(
        self, remote: AsyncGenerator[T, None], first: "asyncio.Task[T | None]", call_id: Callable[[T], str]
    ) -> None:
        if len(self._cancelling) >= _MAX_CANCELLING:
            logger.warning("Too many calls to cancel at once: one is left to end by itself.")
            first.cancel()
            return
        task = asyncio.create_task(self._cancel(remote, first, call_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(
        self, remote: AsyncGenerator[T, None], first: "asyncio.Task[T | None]", call_id: Callable[[T], str]
    ) -> None:
        try:
            async with asyncio.timeout(self._first_item_s):
                item = await first
                if item is not None and (id_ := call_id(item)):
                    await modal.FunctionCall.from_id(id_).cancel.aio()
        except Exception as error:
            logger.warning("A call could not be cancelled and ends by itself: %r", error)
        finally:
            await remote.aclose()


async def _next(remote: AsyncGenerator[T, None]) -> T | None:
    return await anext(remote, None)
