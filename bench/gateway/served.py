"""`python -m bench.gateway.served`: a gateway over simulated stages, as `s2s serve` serves one. It writes its
port to standard output, and ends with its standard input."""

import asyncio
import socket
import sys
from types import MappingProxyType

from bench.gateway.spoken import stages
from gateway.access import Access
from gateway.backend import Backend, listening
from gateway.server import Gateway
from gateway.serving import serving
from orchestrator.pipeline import Pipeline
from shared.errors import Stage
from shared.settings import Settings

SETTINGS = Settings(
    max_sessions=1_000,
    max_key_sessions=1_000,
    max_key_requests_per_minute=100_000,
    max_active_turns=1_000,
    drain_s=1.0,
)


async def _serve() -> None:
    simulated = stages()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with listening(SETTINGS) as (turn_model, new_vad):
            backend = Backend(
                stages=simulated,
                turns=Pipeline(simulated, SETTINGS).stream,
                turn_model=turn_model,
                settings=SETTINGS,
                model_names=MappingProxyType(dict.fromkeys(Stage, "simulated")),
                new_vad=new_vad,
            )
            async with serving(Gateway(backend, Access(SETTINGS)), listener, SETTINGS.drain_s):
                print(listener.getsockname()[1], flush=True)
                await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
