"""How turns are found: silence, semantics, idle time, and what a transcription session needs."""

import base64
from typing import Any

import pytest

from conversation.audio import Frame, Samples
from conversation.vad import OwnVad
from gateway.realtime.audio import AudioFormat
from shared.audio.pcm import resample
from shared.errors import StageFailed
from tests.gateway.realtime.conftest import TRANSCRIPT, quick
from tests.support.realtime_client import QUESTION, Client, Served, pcm24, said, serving, silence
from tests.support.scripted_stages import Cast, cast
from tests.support.waiting import until_async


async def test_positions_count_from_the_sessions_first_audio(client: Client) -> None:
    await client.speak(silence(1.0) + pcm24(QUESTION) + silence(1.0))
    stopped = await client.until("input_audio_buffer.speech_stopped")
    (started,) = client.of("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == pytest.approx(1_000 - 300, abs=250)
    assert stopped["audio_end_ms"] == pytest.approx(1_000 + 1000 * QUESTION.duration_s, abs=100)


@pytest.mark.parametrize(("silence_ms", "turns"), [(300, 2), (2_000, 1)])
async def test_the_silence_that_ends_a_turn_is_the_clients(
    client: Client, silence_ms: int, turns: int
) -> None:
    detection = {"type": "server_vad", "silence_duration_ms": silence_ms, "create_response": False}
    await client.update(audio={"input": {"turn_detection": detection}})
    await client.speak(said(then_s=0.9) + said(then_s=3.0))
    await client.send("input_audio_buffer.clear")
    await client.until("input_audio_buffer.cleared")
    assert len(client.of("input_audio_buffer.committed")) == turns


async def test_a_turn_is_begun_at_the_first_pause_and_kept(scripted: Cast, client: Client) -> None:
    detection = {"type": "server_vad", "silence_duration_ms": 2_000}
    await client.update(audio={"input": {"turn_detection": detection}})
    await client.speak(said(then_s=0.8))
    await until_async(lambda: scripted.llm.calls)  # while the client is told nothing
    assert client.of("input_audio_buffer.speech_stopped") == []
    await client.speak(silence(2.0))
    await client.until("response.done")
    assert len(scripted.asr.calls) == len(scripted.llm.calls) == 1


class Judge:
    """A turn model with one answer."""

    def __init__(self, probability: float) -> None:
        self._probability = probability
        self.asked = 0

    async def probability(self, samples: Samples) -> float:
        self.asked += 1
        return self._probability


@pytest.mark.parametrize(("probability", "turns"), [(0.99, 2), (0.01, 1)])
async def test_semantic_vad_asks_the_model(probability: float, turns: int) -> None:
    judge = Judge(probability)
    async with serving(quick(), turn_model=judge) as served, served.client() as client:
        detection = {"type": "semantic_vad", "create_response": False}
        await client.update(audio={"input": {"turn_detection": detection}})
        for _ in range(2):
            await client.speak(said(then_s=1.0))
        await client.speak(silence(3.0))
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        assert len(client.of("input_audio_buffer.committed")) == turns
    assert judge.asked >= 2


async def test_server_vad_does_not_ask_it() -> None:
    judge = Judge(0.01)
    async with serving(quick(), turn_model=judge) as served, served.client() as client:
        await client.speak(said())
        await client.until("response.done")
    assert judge.asked == 0


async def test_idle_time_behind_a_reply_asks_for_another(client: Client, scripted: Cast) -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 100}
    await client.update(audio={"input": {"turn_detection": detection}})
    await client.speak(said())
    await client.until("response.done")
    triggered = await client.until("input_audio_buffer.timeout_triggered")
    committed = await client.until("input_audio_buffer.committed")
    await client.until("response.done")
    assert committed["item_id"] == triggered["item_id"]
    assert len(scripted.llm.calls) == 2


@pytest.mark.parametrize("by_query", [True, False])
async def test_a_transcription_session_only_transcribes(
    served: Served, scripted: Cast, by_query: bool
) -> None:
    async with served.client("?intent=transcription" if by_query else "") as client:
        session: dict[str, Any] = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
        await client.send("session.update", session={"type": "transcription", **session})
        updated = (await client.until("session.updated"))["session"]
        assert updated["type"] == "transcription"
        assert updated["audio"]["input"]["transcription"] == {"model": "gpt-4o-transcribe"}
        await client.speak(said())
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == TRANSCRIPT
        assert client.of("response.created") == []
        await client.send("response.create")
        assert (await client.error())["code"] == "invalid_value"
    assert scripted.llm.calls == []


async def test_a_transcription_that_fails_is_reported() -> None:
    scripted = cast(asr=[[StageFailed("The engine broke.")]])
    async with serving(scripted) as served, served.client("?intent=transcription") as client:
        await client.speak(said())
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "stage_failed"


async def test_speech_without_a_word_has_an_empty_response() -> None:
    async with serving(cast(asr=[[0.01, ""]])) as served, served.client() as client:
        await client.speak(said())
        response = (await client.until("response.done"))["response"]
        assert (response["status"], response["output"]) == ("completed", [])


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_telephone_formats_in_and_out(served: Served, scripted: Cast, kind: str) -> None:
    async with served.client() as client:
        coded = {"format": {"type": kind}}
        await client.update(audio={"input": coded, "output": coded})
        audio_format = AudioFormat[kind.removeprefix("audio/").upper()]
        question = audio_format.encoded(resample(QUESTION, 8_000).samples)
        quiet = audio_format.encoded(resample(QUESTION, 8_000).samples * 0)
        for piece in (quiet[:4_000], question, quiet[:8_000]):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(piece).decode())
        await client.until("response.done")
        heard = scripted.asr.calls[0].given
        assert heard.duration_s == pytest.approx(QUESTION.duration_s + 0.3, abs=0.4)
        spoken_s = 0.06 * len("It is sunny.")
        assert len(client.audio) == pytest.approx(8_000 * spoken_s, abs=20)
        assert audio_format.decoded(client.audio)[100:-100].mean() == pytest.approx(0.1, abs=0.01)


class CountedVad:
    """The one of a conversation, and how many frames it was given at once."""

    def __init__(self) -> None:
        self._vad = OwnVad()
        self.at_once: list[int] = []

    async def probabilities(self, *frames: Frame) -> list[float]:
        self.at_once.append(len(frames))
        return await self._vad.probabilities(*frames)


async def test_a_quiet_room_is_not_listened_to_but_speech_and_interruptions_are_at_once() -> None:
    vad = CountedVad()
    long = quick("It is sunny, and it will be so for the next weeks, say those who know about it.")
    async with serving(long, new_vad=lambda: vad) as served, served.client() as client:

        async def ask(event: str, answer: str) -> None:
            await client.send(event)
            await client.until(answer)

        await client.speak(silence(2.0), piece_s=0.032)
        await ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
        assert vad.at_once == []
        await client.speak(pcm24(QUESTION) + silence(0.32), piece_s=0.032)
        await ask("input_audio_buffer.commit", "input_audio_buffer.committed")
        assert vad.at_once[-30:] == [1] * 30, "what is said is heard frame by frame"
        await ask("response.create", "response.output_audio.delta")
        vad.at_once.clear()
        await client.speak(silence(0.32), piece_s=0.032)
        await ask("input_audio_buffer.clear", "input_audio_buffer.cleared")
        assert vad.at_once == [1] * 10, "so are interruptions of a reply that plays"
