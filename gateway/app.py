"""Modal app speech-to-speech-gateway: any client, any browser, before the deployed services.
Deploy: make deploy-gateway"""

import os
import socket
from contextlib import AsyncExitStack
from typing import Any

import modal

from gateway.access import Access
from gateway.backend import deployed_backend
from gateway.server import Gateway
from gateway.serving import serving
from services.on_modal.images import gateway_image
from services.on_modal.service import container_options, secrets_of
from services.selection import Selection, select
from shared.deployment import GATEWAY_APP, GATEWAY_SESSIONS
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import Settings, settings
from shared.telemetry import telemetry

START_TIMEOUT_S = 60
PORT = 8000
"""Where Modal expects the server, unless the variable PORT says otherwise, as the local cloud's does."""


def server_options(selection: Selection, settings: Settings) -> dict[str, Any]:
    """What the server asks of Modal. A request that meets no container is answered 503 there, and starts
    one."""
    options = container_options(settings.gateway, settings)
    region, routing_region = options.pop("region"), options.pop("routing_region")
    return {
        **options,
        "image": gateway_image(selection, settings),
        "secrets": secrets_of() if settings.gateway_proxy_token else secrets_of("S2S_API_KEYS"),
        "unauthenticated": not settings.gateway_proxy_token,
        "port": PORT,
        "startup_timeout": START_TIMEOUT_S,
        "exit_grace_period": round(settings.drain_s),
        "target_concurrency": settings.gateway.concurrent_inputs or GATEWAY_SESSIONS,
        "compute_region": region,
        "enable_memory_snapshot": settings.gateway.snapshot != "none",  # of the imports
        **({"routing_region": routing_region} if routing_region else {}),
    }


SELECTION = select(settings(), on_modal=True)

app = modal.App(GATEWAY_APP)


@app.server(**server_options(SELECTION, settings()))
class GatewayServer:
    """The gateway of one container; a session stays with the container that it is connected to."""

    @modal.enter()
    async def start(self) -> None:
        """Listen. Raises Misconfigured if everybody could use it."""
        configure_logging(settings())
        access = Access(settings())
        if not (access.needs_key or settings().gateway_proxy_token):
            raise Misconfigured("The Secret s2s-api-keys holds no key: S2S_API_KEYS is empty.")
        self._exit = AsyncExitStack()
        self._exit.enter_context(telemetry(GATEWAY_APP))
        in_monolith = settings().gateway_target == "monolith"
        backend = await self._exit.enter_async_context(
            deployed_backend(SELECTION, settings(), in_monolith=in_monolith)
        )
        listener = socket.create_server(("0.0.0.0", int(os.environ.get("PORT", PORT))))
        await self._exit.enter_async_context(serving(Gateway(backend, access), listener, settings().drain_s))

    @modal.exit()
    async def stop(self) -> None:
        """Take no new sessions, and let turns under way end."""
        await self._exit.aclose()
