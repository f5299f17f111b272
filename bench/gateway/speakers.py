"""`python -m bench.gateway.speakers PORT SESSIONS SECONDS`: people who talk to a gateway for so long.

Each has one WebSocket at a time. The voice-to-voice of their turns, in seconds and in the turns' order, goes
to standard output, as JSON.
"""

import asyncio
import base64
import json
import random
import sys
from collections import deque
from dataclasses import dataclass
from itertools import chain

import websockets

from bench.gateway.spoken import QUESTIONS, SILENCE_S, Question, block_ends
from bench.sounds import Samples
from shared.audio.pcm import as_int16

SAMPLE_RATE_HZ = 24_000
PAUSE_S = (0.5, 2.0)
"""Between a reply's end and the next question."""
STAGGER_S = 6.0
"""Sessions begin within this time of each other: about a turn."""

TURNS_A_SESSION = 10
"""Then they hang up and call again: a session that goes on grows by its own conversation."""

_SESSION = {
    "type": "realtime",
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": SILENCE_S * 1000}}},
}


@dataclass(frozen=True)
class _Messages:
    spoken: list[str]
    filling_s: float


class _Speaker:
    def __init__(self, url: str, questions: list[_Messages], silence: str, seed: int) -> None:
        self._url = url
        self._questions, self._silence = questions, silence
        self._chance = random.Random(seed)
        self._filling_s = 0.0
        self._coming: deque[str] = deque()
        self._ended_s: float | None = None
        self._answered: list[tuple[float, float]] = []

    async def talk(self, duration_s: float) -> list[tuple[float, float]]:
        """Ask, at least once, until the time is over, and hear the last reply out. When each reply was
        audible, and the voice-to-voice."""
        now = asyncio.get_running_loop().time
        until_s = now() + duration_s
        await asyncio.sleep(self._chance.uniform(0, STAGGER_S))
        while not self._answered or now() < until_s:
            await self._call(until_s)
        return self._answered

    async def _call(self, until_s: float) -> None:
        """One session."""
        now = asyncio.get_running_loop().time
        async with websockets.connect(self._url, compression=None, max_size=None) as socket:
            await socket.send(json.dumps({"type": "session.update", "session": _SESSION}))
            speaking = asyncio.create_task(self._speak(socket))
            for turn in range(TURNS_A_SESSION):
                if turn and now() >= until_s:
                    break
                await asyncio.sleep(self._chance.uniform(*PAUSE_S))
                question = self._chance.choice(self._questions)
                self._filling_s = question.filling_s
                self._coming.extend(question.spoken)
                await asyncio.wait_for(self._hear_out(socket), 60)
            speaking.cancel()

    async def _speak(self, socket: websockets.ClientConnection) -> None:
        async for end_s in block_ends():
            if self._coming:
                self._ended_s = end_s - self._filling_s
            await socket.send(self._coming.popleft() if self._coming else self._silence)

    async def _hear_out(self, socket: websockets.ClientConnection) -> None:
        """Events are recognised by their text: to decode those of 100 sessions costs a core."""
        audible = False
        while True:
            event = await socket.recv()
            assert isinstance(event, str)
            if not audible and '"response.output_audio.delta"' in event:
                audible = True
                assert self._ended_s
                now_s = asyncio.get_running_loop().time()
                self._answered.append((now_s, now_s - self._ended_s))
            elif '"response.done"' in event:
                assert '"status":"completed"' in event, event
                assert audible, event
                return
            elif '"type":"error"' in event:
                raise AssertionError(event)


def append_message(samples: Samples) -> str:
    """The client event with this audio."""
    audio = base64.b64encode(as_int16(samples).tobytes()).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


async def _main(port: str, sessions: str, duration_s: str) -> None:
    asked = [Question(name, SAMPLE_RATE_HZ) for name in QUESTIONS]
    questions = [_Messages([append_message(block) for block in one.blocks], one.filling_s) for one in asked]
    url, silence = f"ws://127.0.0.1:{port}/v1/realtime", append_message(asked[0].silence)
    speakers = [_Speaker(url, questions, silence, seed) for seed in range(int(sessions))]
    talked = await asyncio.gather(*(speaker.talk(float(duration_s)) for speaker in speakers))
    print(json.dumps([voice_to_voice_s for _, voice_to_voice_s in sorted(chain(*talked))]))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
