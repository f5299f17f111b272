"""`s2s serve`, a process of its own with real engines, and OpenAI's own client."""

import asyncio
import base64
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests.support.documentation import block_with
from tests.support.realtime_client import QUESTION, pcm24, silence
from tests.support.s2s_command import S2S, refused, s2s

pytestmark = pytest.mark.slow

ENGINES = {"LLM_MODEL": "rules", "TTS_MODEL": "espeak"}


class Server:
    """The command, under way, and the lines that it has printed."""

    def __init__(self, folder: Path, asr: str = "pocketsphinx") -> None:
        self._process = subprocess.Popen(
            [*S2S, "serve", "--port", "0"],
            cwd=folder,
            env=os.environ | ENGINES | {"ASR_MODEL": asr, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.line_with(r"Realtime +ws://127\.0\.0\.1:(\d+)/v1/realtime"))

    def line_with(self, pattern: str) -> str:
        """Wait for a line that this pattern is found in, and return its first group."""
        assert self._process.stdout
        for line in self._process.stdout:
            if found := re.search(pattern, line):
                return found[found.re.groups and 1]
        raise AssertionError(f"the command ended without a line like {pattern}")

    def ended(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send it this signal, if it runs, and wait for its end. Returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.communicate(timeout=60)
        return self._process.returncode


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.ended(signal.SIGKILL)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), asr="whisper")
    yield server
    assert server.ended() == 0


def test_openais_client_asks_and_is_answered_aloud(answering: Server) -> None:
    question, answer, audio = asyncio.run(spoken_turn(answering.port))
    assert "2 plus 2" in question.lower()
    assert "four" in answer.lower()
    assert len(audio) > 24_000  # half a second
    assert max(audio) > 0
    answering.line_with("connected: 1 session")
    assert "first audio" in answering.line_with("completed, (.*)")
    answering.line_with("left: 0 sessions")


def test_the_program_that_is_shown_prints_the_answer(answering: Server, tmp_path: Path) -> None:
    program = block_with("async def ask()").replace(":8000/", f":{answering.port}/")
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "four" in run.stdout.lower()


async def spoken_turn(port: int) -> tuple[str, str, bytes]:
    """The question as it was transcribed, and the reply as words and as audio."""
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    question = answer = ""
    audio = b""
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        )
        said = silence(0.3) + pcm24(QUESTION) + silence(1.0)
        for start in range(0, len(said), 4_800):
            piece = base64.b64encode(said[start : start + 4_800]).decode()
            await connection.input_audio_buffer.append(audio=piece)
        async for event in connection:
            match event.type:
                case "conversation.item.input_audio_transcription.completed":
                    question = event.transcript
                case "response.output_audio_transcript.done":
                    answer = event.transcript
                case "response.output_audio.delta":
                    audio += base64.b64decode(event.delta)
                case "response.done":
                    return question, answer, audio
    raise AssertionError("the connection ended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_sessions(server: Server, number: signal.Signals) -> None:
    async def left_by_the_server() -> int:
        client = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")
        async with client.realtime.connect(model="m") as connection:
            await connection.recv()
            code = await asyncio.to_thread(server.ended, number)
            with pytest.raises(Exception, match="1001"):
                while True:
                    await connection.recv()
            return code

    assert asyncio.run(left_by_the_server()) == 0


def test_other_machines_are_served_only_with_keys() -> None:
    refused(s2s("serve", "--host", "0.0.0.0", LLM_MODEL="rules"), 5, "S2S_API_KEYS")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(s2s("serve", "--port", port, LLM_MODEL="rules"), 5, port)
