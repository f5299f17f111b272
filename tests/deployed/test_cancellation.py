"""A cancel goes all the way down: what nobody wants any more stops where it is made.

The engines here are a user's own, registered by the three public steps. They are slow, and note in a file
when they did what.
"""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.sounds import example, recording
from client.errors import ExitCode
from local_cloud.events import Kind
from orchestrator.modal_stages import ModalStages
from orchestrator.remote_stream import RemoteStreams
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import encode_wav
from shared.deployment import APPS
from shared.errors import Stage
from shared.payloads import ChatMessage
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnRequest, TurnStarted
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in, remote
from tests.support.paths import EXAMPLES
from tests.support.terminal_screen import ProgramInTerminal
from tests.support.waiting import until_async

STEPS = {"llm": 1200, "tts": 600}
"""What the engines would do by themselves, in a minute."""

NOTES = """
import asyncio, os, threading, time
import numpy as np
from shared.engines import ASRModel, EngineSpec, LLMModel, TTSModel, register_model
from shared.audio.pcm import Pcm
from shared.payloads import TextDelta

MAY_WAKE = "NOTES-wake"

def note(what):
    with open("NOTES", "a") as file:
        file.write(f"{what} {time.time()}\\n")
"""
HEARS = """
@register_model("asr", "hears", EngineSpec(summary="Hears the same always.", licence="MIT"))
class Hears(ASRModel):
    model_name = "hears"
    def load(self): ...
    def transcribe(self, pcm, *, language=None):
        return "tell me a long story"
"""
TALKS = """
@register_model("llm", "talks", EngineSpec(summary="Writes a minute.", licence="MIT", concurrent_inputs=4))
class Talks(LLMModel):
    model_name = "talks"
    def load(self): ...
    async def generate(self, messages, *, tools=(), max_tokens, temperature):
        try:
            for n in range(LLM_STEPS):
                note("llm")
                yield TextDelta(text="and then they went on. ")
                await asyncio.sleep(0.05)
        finally:
            note("llm-closed")
"""
WAKES = """
@register_model("llm", "wakes", EngineSpec(summary="Takes long to load.", licence="MIT", concurrent_inputs=4))
class Wakes(LLMModel):
    model_name = "wakes"
    def load(self):
        note("llm-loading")
        while not os.path.exists(MAY_WAKE):
            time.sleep(0.05)
    async def generate(self, messages, *, tools=(), max_tokens, temperature):
        note("llm-asked-with-" + str(len(messages)))
        try:
            while True:
                note("llm")
                yield TextDelta(text="and then they went on. ")
                await asyncio.sleep(0.05)
        finally:
            note("llm-closed")
"""
SPEAKS = """
@register_model("tts", "speaks", EngineSpec(summary="Speaks for a minute.", licence="MIT"))
class Speaks(TTSModel):
    model_name = "speaks"
    def load(self): ...
    def synthesize(self, text, cancelled, **options):
        for n in range(TTS_STEPS):
            if cancelled.wait(0.1):
                note("tts-closed")
                return
            note("tts")
            yield Pcm(np.zeros(1600, np.float32), 16000)
"""


PATIENT = """
import asyncio
from pathlib import Path
import numpy as np
from client.audio import microphone, talk_audio
from client.cli import main

class PatientMicrophone(microphone.FileMicrophone):
    async def __anext__(self):
        if self._frames * microphone.FRAME_S < 2 or Path("go-on").exists():
            return await super().__anext__()
        self._frames += 1
        await asyncio.sleep(self._opened_at_s + self._frames * microphone.FRAME_S - self._loop.time())
        return microphone.Frame(np.zeros(microphone.FRAME_SAMPLES, np.float32))

talk_audio.FileMicrophone = PatientMicrophone
main()
"""
"""The command `s2s`, where who talks is silent after two seconds, until there is a file go-on."""


@dataclass(frozen=True)
class Notes:
    """What the engines have noted."""

    file: Path

    def times(self, what: str) -> list[float]:
        if not self.file.exists():
            return []
        lines = [line.split() for line in self.file.read_text().splitlines()]
        return [float(at) for name, at in lines if name == what]

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)

    def closed(self, what: str) -> bool:
        """Whether it was closed after the last of its steps."""
        return self.times(f"{what}-closed")[-1:] >= self.times(what)[-1:]

    async def show_that_work_stops(self, *whats: str) -> None:
        """Nothing more is done of these, long before they are done; each was being done."""
        before = {what: len(self.times(what)) for what in whats}
        await until_async(lambda: all(map(self.closed, whats)))
        await asyncio.sleep(0.5)
        for what in whats:
            assert before[what], f"{what} was at work"
            assert self.closed(what)
            assert len(self.times(what)) < STEPS[what]


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = project_in(tmp_path_factory.mktemp("project"), cloud)
    steps = "".join(f"{what.upper()}_STEPS = {number}\n" for what, number in STEPS.items())
    head = NOTES.replace("NOTES", str(made.folder / "notes")) + steps
    for stage, name, engine in (
        (Stage.ASR, "hears", HEARS),
        (Stage.LLM, "talks", TALKS),
        (Stage.LLM, "wakes", WAKES),
        (Stage.TTS, "speaks", SPEAKS),
    ):
        made.add_engine(stage, name, head + engine)
    settings = {"ASR_MODEL": "hears", "LLM_MODEL": "talks", "TTS_MODEL": "speaks"}
    made.deploy_all(**settings, S2S_MAX_REPLY_CHARACTERS="100000")
    return made


@pytest.fixture
def notes(project: Project) -> Notes:
    kept = Notes(project.folder / "notes")
    kept.forget()
    return kept


def question() -> TurnRequest:
    file = EXAMPLES / "what-is-two-plus-two.mp3"
    return TurnRequest(audio=encode_mp3(decode_audio(file.read_bytes(), Settings())))


async def test_a_cancel_in_mid_reply_stops_llm_and_tts_at_once(project: Project, notes: Notes) -> None:
    import modal

    call_id = ""
    with pytest.raises(modal.exception.RemoteError):
        async for event in remote("speech-to-speech", "stream_turn").remote_gen.aio(question()):
            if isinstance(event, TurnStarted):
                call_id = event.call_id
            if isinstance(event, SpeechChunk) and event.segment == 3:
                await modal.FunctionCall.from_id(call_id).cancel.aio()
                await notes.show_that_work_stops("llm", "tts")
    assert len(project.cloud.plane.containers()) == 4  # nothing died of it


async def test_closing_the_stream_of_a_turn_cancels_it(project: Project, notes: Notes) -> None:
    streams = RemoteStreams(first_item_s=30)
    stream_turn = remote("speech-to-speech", "stream_turn")
    turn = streams.stream(stream_turn, question(), stage=Stage.ORCHESTRATOR)
    async for event in turn:
        if isinstance(event, SpeechChunk) and event.segment == 3:
            break
    await turn.aclose()
    await notes.show_that_work_stops("llm", "tts")
    await streams.close()


async def test_ctrl_c_at_the_command_cancels_the_deployed_turn(project: Project, notes: Notes) -> None:
    file = EXAMPLES / "what-is-two-plus-two.mp3"
    command = await asyncio.create_subprocess_exec(
        *project.command,
        *("turn", file, "--target", "modal", "-o", project.folder / "answer.mp3"),
        cwd=project.folder,
        env=project.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    await until_async(lambda: bool(notes.times("tts")))
    command.send_signal(signal.SIGINT)
    _, said = await command.communicate()
    assert command.returncode == 130
    assert said.split() == [b"s2s:", b"Interrupted."]
    await notes.show_that_work_stops("llm", "tts")


async def test_a_call_closed_while_its_container_still_starts_is_cancelled_once_it_runs(
    project: Project, notes: Notes
) -> None:
    project.deploy(Stage.LLM, LLM_MODEL="talks")  # its container is a new one now
    stages = ModalStages(Settings())
    reply = stages.generate([ChatMessage(role="user", content="Hello")], max_tokens=10, temperature=0.0)
    with project.events(Kind.CALL, Kind.CANCELLED) as seen:
        with project.cloud.plane.no_capacity(APPS[Stage.LLM]):
            reading = asyncio.ensure_future(anext(reply))
            await until_async(lambda: any("LLM.generate" in event.text for event in seen))
            reading.cancel()
            await asyncio.wait({reading})
            await reply.aclose()
        await until_async(lambda: any(event.kind is Kind.CANCELLED for event in seen))
    await until_async(lambda: bool(notes.times("llm-closed")))
    assert len(notes.times("llm")) < STEPS["llm"]


async def test_who_talks_sees_the_cold_start_and_interrupts_what_is_deployed(
    project: Project, notes: Notes, tmp_path: Path
) -> None:
    project.deploy(Stage.LLM, LLM_MODEL="wakes")  # its container is a new one now, and no other
    first, second, long_after = (0.5, example("hello")), (2.5, example("what-can-you-do")), 600.0
    (tmp_path / "said.wav").write_bytes(encode_wav(recording([first, second], long_after)))
    options = ("--target", "modal", "--input-wav", "said.wav", "--output-wav", "heard.wav")
    with project.events(Kind.CANCELLED) as cancelled:
        command = [sys.executable, "-c", PATIENT, "talk", *options]
        talking = ProgramInTerminal(command, tmp_path, project.environ())
        await until_async(lambda: talking.screen.has_shown("Waiting for the LLM to start"))
        notes.file.with_name("notes-wake").touch()
        await until_async(lambda: talking.screen.has_shown("Speaking"))
        assert notes.times("llm-loading")[0] < notes.times("llm-asked-with-2")[0]
        assert talking.screen.has_shown("Starting what is deployed")
        (tmp_path / "go-on").touch()
        await until_async(lambda: notes.times("llm-asked-with-4"))  # with the first turn before it
        await until_async(lambda: talking.screen.lines.count("You    tell me a long story") == 2)
        await until_async(lambda: notes.times("llm-closed"))
        second_s = notes.times("llm-asked-with-4")[0]
        await until_async(lambda: notes.times("tts")[-1] > second_s)
        os.killpg(talking.process.pid, signal.SIGINT)
        assert await asyncio.to_thread(talking.ended) == 0
        await notes.show_that_work_stops("llm", "tts")
    shown = "\n".join(talking.screen.lines)
    assert "2 turns: 2 interrupted." in shown
    turns = [event for event in cancelled if "stream_turn" in event.text]
    assert len(turns) == 2
    assert len([event for event in cancelled if "LLM.generate" in event.text]) == 2


def test_who_talks_to_what_is_not_deployed_is_told_what_to_run(project: Project, tmp_path: Path) -> None:
    project.cloud.modal(project.folder, "app", "stop", "--yes", "speech-to-speech")
    (tmp_path / "said.wav").write_bytes(encode_wav(recording([], 1.0)))
    files = ("--input-wav", tmp_path / "said.wav", "--output-wav", tmp_path / "heard.wav")
    done = project.s2s("talk", "--target", "modal", *files, fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stderr == "s2s: The app speech-to-speech is not deployed. Run: make deploy-orchestrator\n"
    assert done.stdout == ""
