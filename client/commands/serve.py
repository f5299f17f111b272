"""`s2s serve`: the gateway on this machine, until Ctrl-C."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import uvicorn
from rich.console import Console
from starlette.types import ASGIApp

from client.display.serve_display import ServeDisplay
from client.targets import Target
from client.turn_model import turn_model_of
from conversation.shared_vad import MODEL_FILE, SharedVad
from gateway.access import Access
from gateway.backend import Backend
from gateway.server import Gateway
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.selection import Selection, check_runs_here, select
from services.weights import weights_folder
from services.weights.pinned import SILERO_VAD
from shared.errors import Misconfigured
from shared.settings import Settings, settings

MAX_MESSAGE_BYTES = 21 * 2**20
"""15 MiB of audio, the most that the protocol allows, are 20 MiB of base64."""


def serve_command(host: str, port: int, target: Target) -> None:
    """Run the command; see `s2s serve --help`. Ctrl-C is how it ends, and no error.

    Raises Misconfigured if other machines could reach it without a key, or the address cannot be used.
    """
    chosen = settings()
    access = Access(chosen)
    if not access.needs_key and not _is_loopback(host):
        raise Misconfigured(
            f"Other machines can reach {host}, so it needs keys: set S2S_API_KEYS, or leave --host out."
        )
    if target is not Target.LOCAL:
        raise Misconfigured("s2s serve --target: only local can be served yet.")
    selection = select(chosen)
    check_runs_here(selection)
    with _listening(host, port) as listener:
        display = ServeDisplay(Console())
        asyncio.run(_serve(selection, chosen, access, listener, display))


async def _serve(
    selection: Selection, chosen: Settings, access: Access, listener: socket.socket, display: ServeDisplay
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with _backend(selection, chosen, display) as backend:
        gateway = Gateway(backend, access)
        gateway.realtime.on_session, gateway.realtime.on_turn = display.session, display.turn
        server = _Server(gateway_config(gateway.app))
        serving = asyncio.create_task(server.serve([listener]))
        stopping = asyncio.create_task(stop.wait())
        display.listening(listener.getsockname(), needs_key=access.needs_key)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        display.draining(chosen.drain_s)
        await gateway.drain(chosen.drain_s)
        server.should_exit = True
        await serving


def gateway_config(app: ASGIApp, port: int = 0) -> uvicorn.Config:
    """How the gateway is served; WebSockets' messages and pings as its clients want them."""
    return uvicorn.Config(
        app,
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,  # audio would not get smaller
        timeout_graceful_shutdown=5,
    )


class _Server(uvicorn.Server):
    def capture_signals(self) -> "nullcontext[None]":  # type: ignore[override]
        """Signals are the command's."""
        return nullcontext()


@asynccontextmanager
async def _backend(selection: Selection, chosen: Settings, display: ServeDisplay) -> AsyncIterator[Backend]:
    async with (
        InProcessStages(selection, chosen) as stages,
        turn_model_of(chosen) as turn_model,
        SharedVad(weights_folder(SILERO_VAD) / MODEL_FILE) as vad,
    ):
        display.waiting(f"Loading {', '.join(stages.model_names.values())}")
        await stages.loaded(lambda _: None)
        display.waiting("")
        yield Backend(
            stages=stages,
            turns=Pipeline(stages, chosen).stream,
            turn_model=turn_model,
            settings=chosen,
            model_names=stages.model_names,
            new_vad=vad.stream,
        )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises Misconfigured if the address cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise Misconfigured(f"{host}:{port} cannot be listened on: {error.strerror}.") from None
    with listener:
        yield listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
