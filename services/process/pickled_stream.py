"""Objects over a stream between two processes of ours: each a pickle behind its length.

Payloads validate themselves when they are unpickled. Neither side may be a stranger: a pickle can do
anything.
"""

import asyncio
import pickle
from typing import Any

_LENGTH_BYTES = 4


async def send(writer: asyncio.StreamWriter, item: object) -> None:
    """Send one object. Raises OSError if the other side is gone."""
    pickled = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
    writer.write(len(pickled).to_bytes(_LENGTH_BYTES, "big") + pickled)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next object. Raises EOFError (IncompleteReadError is one) or OSError if the other side is gone."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))
