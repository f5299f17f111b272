"""Clients of OpenAI Realtime that people use, each from its packages, talk to `s2s serve`: Whisper
transcribes, a scripted chat model answers, Hibari speaks."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile

from services.asr.whisper import WhisperASR
from services.tts.hibari import HibariTTS
from shared.audio.pcm import Pcm, join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from tests.gateway.clients.environments import Client, NodeClient, PythonClient
from tests.gateway.clients.person import SAMPLE_RATE_HZ, WEATHER
from tests.support.chat_server import ChatServer
from tests.support.scripted_chat import PLAIN, STORY, WEATHER_ARGUMENTS, WEATHER_REPLY, ScriptedChat
from tests.support.served_gateway import served
from tests.support.tts_engines import loaded, spoken
from tests.support.waiting import until_async

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("node")]

CLIENTS = [
    *map(PythonClient, ("with_openai", "with_agents", "with_livekit", "with_pipecat")),
    NodeClient("with_agents"),
]
TALKS_WITHIN_S = 120.0

PLAIN_QUESTION = "What time does the train leave?"
WEATHER_QUESTION = "What is the weather in Paris?"
STORY_QUESTION = "Please tell me a story."

HARMLESS = "response_cancel_not_active"
"""LiveKit cancels a reply that the server has cancelled already, and reports the protocol's answer."""


@pytest.fixture(scope="module")
def chat() -> ScriptedChat:
    return ScriptedChat()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(chat: ScriptedChat, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    models = {"ASR_MODEL": "whisper", "LLM_MODEL": "gpt4omini", "TTS_MODEL": "hibari"}
    server = ChatServer()
    server.behaviour = chat
    async with server.running():
        folder = tmp_path_factory.mktemp("served")
        running = served(folder, S2S_OPENAI_BASE_URL=server.base_url, **models)
        yield await asyncio.to_thread(running.__enter__)
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.fixture(params=CLIENTS, ids=lambda client: f"{client.name}-{type(client).__name__}")
def client(request: pytest.FixtureRequest) -> Client:
    client: Client = request.param
    return client


@dataclass(frozen=True)
class Reply:
    text: str
    audio: Pcm
    interrupted: bool


class Talk:
    """What a client has reported, in its order."""

    def __init__(self, lines: bytes) -> None:
        self.reports: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
        self.transcripts = list(self._values("user"))
        self.arguments = list(self._values("arguments"))
        self.errors = [error for error in self._values("error") if HARMLESS not in error]
        self.replies = [_reply(one) for one in self.reports if "reply" in one]

    def _values(self, key: str) -> Iterator[Any]:
        return (one[key] for one in self.reports if key in one)


def _reply(report: dict[str, Any]) -> Reply:
    samples = np.frombuffer(base64.b64decode(report["audio"]), "<i2").astype(np.float32) / np.float32(2**15)
    return Reply(report["reply"], Pcm(samples, SAMPLE_RATE_HZ), report["interrupted"])


async def talk(client: Client, gateway: str, folder: Path, *questions: str, interrupt: bool = False) -> Talk:
    """Ask the questions aloud through the client; each but the first in the midst of the reply before it."""
    recordings = [await asyncio.to_thread(_recording, folder, question) for question in questions]
    command = await asyncio.to_thread(client.command, folder)
    process = await asyncio.create_subprocess_exec(
        *command,
        gateway,
        *(["--interrupt"] if interrupt else []),
        *recordings,
        env=client.environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TALKS_WITHIN_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-4000:]
    return Talk(out)


def _recording(folder: Path, question: str) -> str:
    speech = join(spoken(loaded(HibariTTS), question))
    path = folder / f"{question.rstrip('?.')}.wav"
    soundfile.write(path, resample(speech, SAMPLE_RATE_HZ).samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return str(path)


def words(text: str) -> list[str]:
    return ["".join(filter(str.isalnum, word)) for word in text.lower().split()]


async def transcript(audio: Pcm) -> list[str]:
    text = await asyncio.to_thread(_whisper().transcribe, resample(audio, ASR_SAMPLE_RATE_HZ))
    return words(text)


@cache
def _whisper() -> WhisperASR:
    engine = WhisperASR()
    engine.load()
    return engine


async def test_a_spoken_question_is_transcribed_and_answered_in_words_and_speech(
    client: Client, gateway: str, tmp_path: Path
) -> None:
    talked = await talk(client, gateway, tmp_path, PLAIN_QUESTION)
    assert [words(one) for one in talked.transcripts] == [words(PLAIN_QUESTION)]
    (reply,) = talked.replies
    assert words(reply.text) == words(PLAIN)
    assert await transcript(reply.audio) == words(PLAIN)
    assert not reply.interrupted
    assert talked.errors == []


async def test_a_tool_is_called_and_its_result_answered(client: Client, gateway: str, tmp_path: Path) -> None:
    talked = await talk(client, gateway, tmp_path, WEATHER_QUESTION)
    assert talked.arguments == [WEATHER_ARGUMENTS]
    (reply,) = talked.replies
    assert words(reply.text) == words(WEATHER_REPLY.format(WEATHER))
    assert talked.errors == []


async def test_an_interruption_ends_the_reply_at_once_and_the_next_question_is_answered(
    client: Client, gateway: str, chat: ScriptedChat, tmp_path: Path
) -> None:
    talked = await talk(client, gateway, tmp_path, STORY_QUESTION, PLAIN_QUESTION, interrupt=True)
    story, answer = talked.replies
    assert story.interrupted
    assert words(STORY.format("1"))[0] == words(story.text)[0]
    assert (words(answer.text), answer.interrupted) == (words(PLAIN), False)
    assert talked.errors == []
    await until_async(lambda: chat.stories == 0)
