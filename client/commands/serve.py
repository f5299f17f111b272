"""`s2s serve`: the gateway on this machine, until Ctrl-C."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from rich.console import Console

from client.display.serve_display import ServeDisplay
from client.targets import App, Target
from gateway.access import Access
from gateway.backend import Backend, deployed_backend, local_backend
from gateway.server import Gateway
from gateway.serving import serving
from services.selection import Selection, check_runs_here, select
from shared.deployment import GATEWAY_APP
from shared.errors import Misconfigured
from shared.settings import Settings, settings
from shared.telemetry import telemetry


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
    selection = select(chosen, on_modal=target is not Target.LOCAL)
    if target is Target.LOCAL:
        check_runs_here(selection)
    with _listening(host, port) as listener, telemetry(GATEWAY_APP):
        display = ServeDisplay(Console())
        asyncio.run(_serve(target, selection, chosen, access, listener, display))


async def _serve(
    target: Target,
    selection: Selection,
    chosen: Settings,
    access: Access,
    listener: socket.socket,
    display: ServeDisplay,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants
            loop.add_signal_handler(number, stop.set)
    async with _backend(target, selection, chosen, display) as backend:
        gateway = Gateway(backend, access)
        gateway.realtime.on_session, gateway.realtime.on_turn = display.session, display.turn
        async with serving(gateway, listener, chosen.drain_s) as server:
            stopping = asyncio.create_task(stop.wait())
            display.listening(listener.getsockname(), needs_key=access.needs_key)
            await asyncio.wait({server, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            loop.remove_signal_handler(signal.SIGINT)  # the next one is not waited for
            display.draining(chosen.drain_s)


@asynccontextmanager
async def _backend(
    target: Target, selection: Selection, chosen: Settings, display: ServeDisplay
) -> AsyncIterator[Backend]:
    if target is Target.LOCAL:
        backend = local_backend(selection, chosen, display.waiting)
    else:
        from client.cloud.modal_connection import check_deployed, connected  # needs modal

        display.waiting("Connecting to Modal")
        await connected()
        for app in target.apps:
            if app is not App.ORCHESTRATOR:  # turns run here
                await check_deployed(app)
        display.waiting("")
        backend = deployed_backend(selection, chosen, in_monolith=target is Target.MONOLITH)
    async with backend as ready:
        yield ready


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
