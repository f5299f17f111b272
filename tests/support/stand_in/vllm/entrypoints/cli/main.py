"""Stands in for `vllm serve`: its options, its addresses, and trouble that a flag or a message asks for."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.chat_server import ChatServer, Exchange, reply, silence_after

HANG = "Say nothing."
DIE = "End."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("weights")
    parser.add_argument("--served-model-name")
    parser.add_argument("--uds")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--fail", action="store_true")
    options, _ = parser.parse_known_args()
    if options.fail:
        sys.exit("CUDA is out of sorts")
    if folder := os.environ.get("VLLM_CACHE_ROOT"):
        compile_into(Path(folder))
    asyncio.run(serve(options.uds, ready=not options.never_ready))


def compile_into(folder: Path) -> None:
    """Print whether something compiled was found, and leave it there."""
    compiled = folder / "compiled"
    print("compiled before" if compiled.exists() else "compiling", flush=True)  # noqa: T201
    folder.mkdir(exist_ok=True)
    compiled.write_text("kernels")


async def serve(socket: str, *, ready: bool) -> None:
    server = ChatServer()
    server.behaviour = answer if ready else silence_after()
    async with await asyncio.start_unix_server(server.serve, socket) as listening:
        await listening.serve_forever()


async def answer(exchange: Exchange) -> None:
    if exchange.path == "/tokenize":
        await exchange.answer(200, {"count": len(json.dumps(exchange.body["messages"]).split())})
    elif not exchange.body.get("stream"):
        await exchange.answer(200, {})
    elif (said := exchange.body["messages"][-1]["content"]) == HANG:
        await silence_after()(exchange)
    elif said == DIE:
        print("Out of memory", flush=True)  # noqa: T201
        os._exit(3)
    else:
        await reply("You said: ", said)(exchange)


if __name__ == "__main__":
    main()
