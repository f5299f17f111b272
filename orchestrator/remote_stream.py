"""Streams of Modal's generators that stop where they run when they are closed here."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import modal

from orchestrator.modal_errors import typed_errors
from shared.errors import Stage
from shared.stage_stream import StageFinished, StageItem
from shared.turn import TurnEnd, TurnEventBase

logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=StageItem | TurnEventBase)

_MAX_CANCELLING = 1_000


class RemoteStreams:
    """Calls remote generators of stage items or turn events, and cancels those that are closed before their
    end.

    Closing a remote generator leaves it running (measured with modal 1.6.4): it has to be cancelled by
    its call id, which is in its own first item. So a call that is closed before its first item stays
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
        stage: Stage,
        app: str | None = None,
        **keywords: Any,
    ) -> AsyncGenerator[Any, None]:
        """Yield what the remote generator yields, up to its last item: StageFinished or a TurnEnd.

        Raises SpeechError of the stage whose app it calls, or of another `app` that is named.
        """
        remote: AsyncGenerator[Any, None] = function.remote_gen.aio(*arguments, **keywords)
        first = asyncio.create_task(_next(remote))
        ended = False
        try:
            with typed_errors(stage, app):
                item = await asyncio.shield(first)
                while item is not None:
                    ended = isinstance(item, StageFinished | TurnEnd)
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
                self._cancel_soon(remote, first)

    async def close(self, within_s: float = 5.0) -> None:
        """Wait until what was closed early is cancelled, at most this long."""
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=within_s)
        for task in list(self._cancelling):
            task.cancel()
        await asyncio.gather(*self._cancelling, return_exceptions=True)

    def _cancel_soon(self, remote: AsyncGenerator[Any, None], first: "asyncio.Task[Any]") -> None:
        if len(self._cancelling) >= _MAX_CANCELLING:
            logger.warning("Too many calls to cancel at once: one is left to end by itself.")
            first.cancel()
            return
        task = asyncio.create_task(self._cancel(remote, first))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, remote: AsyncGenerator[Any, None], first: "asyncio.Task[Any]") -> None:
        try:
            async with asyncio.timeout(self._first_item_s):
                if call_id := getattr(await first, "call_id", ""):
                    await modal.FunctionCall.from_id(call_id).cancel.aio()
        except Exception as error:
            logger.warning("A call could not be cancelled and ends by itself: %r", error)
        finally:
            await remote.aclose()


async def _next(remote: AsyncGenerator[Any, None]) -> Any:
    return await anext(remote, None)
