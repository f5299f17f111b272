"""A deployment of the answering engines, questions for it, and whether an answer is the question's own."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.targets import App
from client.turn_source import deployed_turns
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, resample
from shared.errors import SpeechError, Stage
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.turn import (
    Failure,
    ReplyDelta,
    SpeechChunk,
    StageWaiting,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
    TurnStarted,
)
from tests.support.answering_engines import (
    QUESTION_0_SAMPLES,
    SAMPLE_RATE_HZ,
    Points,
    reply_to,
    speech_samples,
    transcript_of,
)
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.paths import EXAMPLES, ROOT

MODELS = {"ASR_MODEL": "answering", "LLM_MODEL": "answering", "TTS_MODEL": "answering"}

_ENGINE = """
from pathlib import Path
from services.answering_engines import Answering{base}, Points
from shared.engines import EngineSpec, register_model

@register_model("{stage}", "answering", EngineSpec(summary="Answers.", licence="MIT", concurrent_inputs=4))
class Engine(Answering{base}):
    points = Points(Path("{folder}"))
"""


@dataclass(frozen=True)
class AnsweringProject(Project):
    """A project with the answering engines in it."""

    @property
    def points(self) -> Points:
        return Points(self.folder / "points")

    def deploy_all(self, *apps: str, **settings: str) -> None:
        """Deploy these apps, or the four, with the answering engines."""
        super().deploy_all(*apps, **MODELS, **settings)


def answering_project(folder: Path, cloud: Cloud) -> AnsweringProject:
    """Copy the project into an empty folder and add the engines by the three public steps."""
    folder.mkdir(exist_ok=True)
    project_in(folder, cloud)
    project = AnsweringProject(folder, cloud)
    engines = ROOT / "tests" / "support" / "answering_engines.py"
    (folder / "services" / engines.name).write_text(engines.read_text())
    for stage in (Stage.ASR, Stage.LLM, Stage.TTS):
        source = _ENGINE.format(base=stage.upper(), stage=stage, folder=folder / "points")
        project.add_engine(stage, "answering", source)
    return project


def question(number: int) -> TurnRequest:
    """A request whose answer tells its number."""
    samples = _speech().copy()
    samples.resize(QUESTION_0_SAMPLES + number, refcheck=False)  # silence behind it
    return TurnRequest(audio=encode_mp3(Pcm(samples, SAMPLE_RATE_HZ)))


@cache
def _speech() -> NDArray[np.float32]:
    hello = decode_audio((EXAMPLES / "hello.mp3").read_bytes(), Settings())
    return resample(hello, SAMPLE_RATE_HZ).samples[:QUESTION_0_SAMPLES]


@dataclass
class Told:
    """What the client of one turn was told, in order."""

    number: int
    events: list[TurnEvent] = field(default_factory=list)
    raised: SpeechError | None = None
    """The turn ended in this instead of a last event."""

    @property
    def failure(self) -> Failure | None:
        end = self.events[-1] if self.events else None
        if self.raised:
            return Failure.of(self.raised)
        return Failure.of(end.to_error()) if isinstance(end, TurnFailed) else None

    @property
    def completed(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], TurnCompleted)

    @property
    def spoken(self) -> list[SpeechChunk]:
        return [event for event in self.events if isinstance(event, SpeechChunk)]

    @property
    def waited_for(self) -> set[Stage]:
        return {event.stage for event in self.events if isinstance(event, StageWaiting)}

    def doubled(self) -> str | None:
        """What was told twice or out of its order."""
        told = [type(event) for event in self.events if not isinstance(event, ReplyDelta | StageWaiting)]
        once = [kind for kind in told if kind is not SpeechChunk]
        if len(once) != len(set(once)):
            return f"told twice: {[kind.__name__ for kind in once]}"
        if any(issubclass(kind, TurnEnd) for kind in told[:-1]):
            return "something was told after the end"
        if told[:1] not in ([TurnStarted], []) or (SpeechChunk in told and TranscriptReady not in told[:2]):
            return f"out of order: {[kind.__name__ for kind in told]}"
        places = [(chunk.index, chunk.segment) for chunk in self.spoken]
        return None if places == sorted(set(places)) else f"speech out of order: {places}"

    def wrong(self) -> str | None:
        """What does not belong to the question; of a turn that ended early, only what there is must."""
        transcripts = [event.text for event in self.events if isinstance(event, TranscriptReady)]
        if transcripts not in ([transcript_of(self.number)], []):
            return f"heard {transcripts}"
        reply = "".join(event.text for event in self.events if isinstance(event, ReplyDelta))
        speech = " ".join({chunk.index: chunk.text for chunk in self.spoken}.values())
        for said in (reply, speech):
            if not reply_to(self.number).startswith(said):
                return f"said {said!r}"
        samples = sum(_samples(chunk) for chunk in self.spoken)
        if self.completed and (reply, speech) != (reply_to(self.number),) * 2:
            return f"not all was said: {reply!r}, {speech!r}"
        if self.completed and samples != speech_samples(speech):
            return f"{samples} samples of speech instead of {speech_samples(speech)}"
        return None


async def ask(number: int, told: Told | None = None) -> Told:
    """Ask a question as the product's own client does."""
    return await play(question(number), told or Told(number))


async def play(request: TurnRequest, told: Told) -> Told:
    """Play a turn as the product's own client does, and note what is told."""
    try:
        async with (
            deployed_turns(App.ORCHESTRATOR, Settings(), lambda _: None) as turns,
            aclosing(turns(request)) as events,
        ):
            async for event in events:
                told.events.append(event)
    except SpeechError as error:
        told.raised = error
    return told


async def ask_all(numbers: Iterable[int]) -> list[Told]:
    """Many at once."""
    return list(await asyncio.gather(*map(ask, numbers)))


def check(told: Told) -> Told:
    """Assert that it was answered, rightly and once."""
    assert told.completed, told.failure
    assert not told.wrong()
    assert not told.doubled()
    return told


def check_failed(told: Told) -> Failure:
    """Assert that it failed in a way that can be tried again, and that what was told is right."""
    failure = told.failure
    assert failure
    assert failure.retryable
    assert not told.wrong()
    assert not told.doubled()
    return failure


def _samples(chunk: SpeechChunk) -> int:
    assert isinstance(chunk.audio, Mp3Audio)
    assert chunk.audio.sample_rate_hz == SAMPLE_RATE_HZ
    return chunk.audio.num_samples
