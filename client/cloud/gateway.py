"""The deployed gateway, as commands reach it: over HTTP, as it has no methods to call."""

import asyncio
import time
import urllib.error
import urllib.request

import modal

from shared.deployment import GATEWAY_APP, GATEWAY_SERVER
from shared.errors import Misconfigured, StageFailed

_REQUEST_TIMEOUT_S = 10.0
_READY_WITHIN_S = 120.0
_AGAIN_AFTER_S = 0.5


async def gateway_url() -> str:
    """Where the gateway is reached. Raises modal's NotFoundError if it is not deployed."""
    url = await modal.Server.from_name(GATEWAY_APP, GATEWAY_SERVER).get_url.aio()
    if not url:
        raise StageFailed(f"Modal names no address of {GATEWAY_APP}. Deploy it again: s2s deploy gateway")
    return url


async def start_gateway() -> bool:
    """Wait until a container takes work, which the first request starts where there is none. Returns whether
    one had to be waited for.

    Raises Misconfigured if a proxy token is wanted, StageFailed if none is ready in time.
    """
    url, began_s = f"{await gateway_url()}/readyz", time.monotonic()
    status = await asyncio.to_thread(_status, url)
    cold = status == 503
    while status != 200 and time.monotonic() - began_s < _READY_WITHIN_S:
        if status in (401, 403):
            raise Misconfigured(
                f"{GATEWAY_APP} wants a proxy token, which s2s has not: S2S_GATEWAY_PROXY_TOKEN."
            )
        await asyncio.sleep(_AGAIN_AFTER_S)
        status = await asyncio.to_thread(_status, url)
    if status != 200:
        raise StageFailed(f"{GATEWAY_APP} is not ready: HTTP {status}. See: s2s logs gateway")
    return cold


def _status(url: str) -> int:
    """The HTTP status; 503 where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 503
