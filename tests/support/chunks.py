"""A chunker as most tests of it have it, and what can be pulled from it."""

import asyncio

from orchestrator.chunker import Chunker


def a_chunker(
    *, min_first: int = 10, max_first: int = 120, min_later: int = 25, max_later: int = 250
) -> Chunker:
    return Chunker(min_first=min_first, max_first=max_first, min_later=min_later, max_later=max_later)


async def standing_chunk(chunker: Chunker) -> str | None:
    """The chunk that stands with what has been written, None if the reader has to wait for one."""
    pull = asyncio.ensure_future(chunker.next_chunk())
    await asyncio.sleep(0)
    if pull.done():
        return pull.result()
    pull.cancel()
    await asyncio.wait([pull])
    return None


async def the_rest(chunker: Chunker) -> list[str]:
    chunks = []
    while (chunk := await chunker.next_chunk()) is not None:
        chunks.append(chunk)
    return chunks


async def chunks_of(text: str) -> list[str]:
    """The chunks of a text that is complete before the first is pulled."""
    chunker = a_chunker()
    chunker.write(text)
    chunker.close()
    return await the_rest(chunker)


async def first_chunk(text: str) -> str | None:
    chunker = a_chunker()
    chunker.write(text)
    return await standing_chunk(chunker)


async def chunks_after_the_first(text: str) -> list[str]:
    """What can be pulled after the first chunk, "First chunk.", while the text has not ended."""
    chunker = a_chunker()
    chunker.write("First chunk. " + text)
    assert await standing_chunk(chunker) == "First chunk."
    chunks = []
    while (chunk := await standing_chunk(chunker)) is not None:
        chunks.append(chunk)
    return chunks
