"""How a client knows that a server is a local control plane, and which one: Modal's cannot answer this."""

import asyncio

import grpclib.const
import grpclib.server
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from grpclib import GRPCError
from grpclib.client import Channel, UnaryUnaryMethod

IDENTIFY_PATH = "/local_cloud/Identify"


def identify_handler(identity: str) -> grpclib.const.Handler:
    """Return the handler that answers with the server's identity."""

    async def serve(stream: grpclib.server.Stream[Empty, StringValue]) -> None:
        await stream.recv_message()
        await stream.send_message(StringValue(value=identity))

    return grpclib.const.Handler(serve, grpclib.const.Cardinality.UNARY_UNARY, Empty, StringValue)


async def identity_at(host: str, port: int, within_s: float = 1.0) -> str | None:
    """Ask a server who it is; None where none listens, answers in time or knows the question."""
    channel = Channel(host, port)
    try:
        async with asyncio.timeout(within_s):
            answer = await UnaryUnaryMethod(channel, IDENTIFY_PATH, Empty, StringValue)(Empty())
    except (TimeoutError, OSError, GRPCError, asyncio.IncompleteReadError, ValueError):
        return None
    finally:
        channel.close()
    return str(answer.value)
