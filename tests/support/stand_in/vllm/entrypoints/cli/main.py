"""Stands in for `vllm serve` where vLLM is not installed: its command line, its addresses, and trouble that the
last message of a conversation, or a flag, asks for."""

import argparse
import asyncio
import json
import os
import sys

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
        compile_into(folder)
    asyncio.run(serve(options.uds, ready=not options.never_ready))


def compile_into(folder: str) -> None:
    """Print whether something compiled was found, and leave it there."""
    path = os.path.join(folder, "compiled")
    print("compiled before" if os.path.exists(path) else "compiling", flush=True)
    os.makedirs(folder, exist_ok=True)
    with open(path, "w") as file:
        file.write("kernels")


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
        print("Out of memory", flush=True)
        os._exit(3)
    else:
        await reply("You said: ", said)(exchange)


if __name__ == "__main__":
    main()
