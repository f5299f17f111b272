"""Without turn detection the client commits: push to talk."""

import pytest

from tests.gateway.realtime.conftest import REPLY, TRANSCRIPT, quick
from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import QUESTION, Client, Served, pcm24, said, serving, silence
from tests.support.scripted_stages import Cast, cast


@pytest.fixture
async def manual(client: Client) -> Client:
    await client.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    return client


async def test_a_commit_is_transcribed_and_not_answered(manual: Client, scripted: Cast) -> None:
    await manual.speak(pcm24(QUESTION))
    await manual.send("input_audio_buffer.commit")
    completed = await manual.until("conversation.item.input_audio_transcription.completed")
    assert manual.kinds[2:] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert completed["transcript"] == TRANSCRIPT
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(QUESTION.duration_s, abs=0.05)}
    assert scripted.llm.calls == []


async def test_response_create_at_once_behind_it_answers_it(manual: Client, scripted: Cast) -> None:
    await manual.speak(pcm24(QUESTION))
    await manual.send("input_audio_buffer.commit")
    await manual.send("response.create")
    await manual.until("response.done")
    assert manual.transcript == REPLY
    assert scripted.llm.calls[0].given["messages"][-1].content == TRANSCRIPT


async def test_several_items_before_a_response_are_all_answered(manual: Client, scripted: Cast) -> None:
    for _ in range(2):
        await manual.speak(pcm24(QUESTION))
        await manual.send("input_audio_buffer.commit")
    await create(manual, text_item("And be quick."))
    await manual.send("response.create")
    await manual.until("response.done")
    question = f"{TRANSCRIPT} {TRANSCRIPT} And be quick."
    assert scripted.llm.calls[0].given["messages"][-1].content == question


async def test_silence_that_is_committed_has_an_empty_transcript() -> None:
    async with serving(cast(asr=[[0.01, ""]])) as served, served.client() as client:
        await client.update(audio={"input": {"turn_detection": None, "transcription": {}}})
        await client.speak(silence(1.0))
        await client.send("input_audio_buffer.commit")
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == ""


async def test_nothing_to_commit_is_an_error(manual: Client) -> None:
    await manual.send("input_audio_buffer.commit", event_id="mine")
    error = await manual.error()
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


async def test_what_is_cleared_is_not_committed(manual: Client) -> None:
    await manual.speak(pcm24(QUESTION))
    await manual.send("input_audio_buffer.clear")
    await manual.until("input_audio_buffer.cleared")
    await manual.send("input_audio_buffer.commit")
    assert (await manual.error())["code"] == "input_audio_buffer_commit_empty"


async def test_more_audio_than_may_be_buffered_is_an_error() -> None:
    async with serving(quick(), max_audio_s=2.0) as served, served.client() as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(silence(2.5))
        assert (await client.error())["code"] == "input_audio_too_long"


async def test_with_turn_detection_what_is_being_said_can_be_committed_too(
    served: Served, scripted: Cast
) -> None:
    async with served.client() as client:
        await client.speak(silence(0.3) + pcm24(QUESTION))
        await client.until("input_audio_buffer.speech_started")
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.done")
        await client.send("response.create")
        await client.until("response.done")
    assert scripted.llm.calls[0].given["messages"][-1].content == TRANSCRIPT


async def test_without_create_response_a_turn_is_only_transcribed(client: Client, scripted: Cast) -> None:
    detection = {"type": "server_vad", "create_response": False}
    await client.update(audio={"input": {"turn_detection": detection, "transcription": {}}})
    await client.speak(said())
    await client.until("conversation.item.input_audio_transcription.completed")
    assert client.of("response.created") == []
    await client.send("response.create")
    await client.until("response.done")
    assert scripted.llm.calls[0].given["messages"][-1].content == TRANSCRIPT
