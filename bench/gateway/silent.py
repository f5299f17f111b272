"""`python -m bench.gateway.silent PORT SESSIONS SECONDS`: people who listen to a gateway, in a quiet room."""

import asyncio
import random
import sys
from contextlib import suppress
from itertools import cycle, islice

import websockets

from bench.gateway.speakers import SAMPLE_RATE_HZ, append_message
from bench.gateway.spoken import BLOCK_S, block_ends
from bench.sounds import HZ, Samples, pink_noise
from shared.audio.pcm import Pcm, resample

ROOM_NOISE_DB = -50.0
ROOM_S = 20.0
BEGIN_WITHIN_S = 2.0
"""People come at any time: what sessions do at once must not come of how they began."""


def room_noise() -> list[Samples]:
    """Of a quiet room, in blocks."""
    noise = resample(Pcm(pink_noise(ROOM_S, ROOM_NOISE_DB), HZ), SAMPLE_RATE_HZ).samples
    size = round(SAMPLE_RATE_HZ * BLOCK_S)
    return list(noise[: noise.size // size * size].reshape(-1, size))


async def _listen(url: str, room: list[str], seed: int) -> None:
    chance = random.Random(seed)
    await asyncio.sleep(chance.random() * BEGIN_WITHIN_S)
    async with websockets.connect(url, compression=None) as socket:
        blocks = islice(cycle(room), chance.randrange(len(room)), None)
        async for _ in block_ends():
            await socket.send(next(blocks))


async def _main(port: str, sessions: str, duration_s: str) -> None:
    room = [append_message(block) for block in room_noise()]
    url = f"ws://127.0.0.1:{port}/v1/realtime"
    with suppress(TimeoutError):
        async with asyncio.timeout(float(duration_s)):
            await asyncio.gather(*(_listen(url, room, seed) for seed in range(int(sessions))))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
