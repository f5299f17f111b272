"""Who speaks into a response ends it; what was played of it is what the client says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.gateway.realtime.conftest import quick
from tests.support.realtime_client import QUESTION, Client, pcm24, said, serving, silence
from tests.support.scripted_stages import HANG, Cast, Script, cast, speech, typed

LONG = "The sun is out today. It will stay dry until the evening. Take a hat with you."
ENDLESS: Script = [speech(0.5), speech(0.5), HANG]


def endless() -> Cast:
    """Replies that never end."""
    return cast(
        asr=[[0.01, "how is the weather"]],
        llm=[typed(LONG, first_s=0.01), typed("Sunny.", first_s=0.01)],
        tts=[ENDLESS],
    )


@pytest.fixture
async def speaking() -> AsyncIterator[Client]:
    """A client that hears a reply."""
    async with serving(endless()) as served, served.client() as client:
        await client.speak(said())
        await client.until("response.output_audio.delta")
        yield client


async def test_speech_cancels_the_response(speaking: Client) -> None:
    await speaking.speak(silence(0.2) + pcm24(QUESTION))
    response = (await speaking.until("response.done"))["response"]
    assert speaking.of("input_audio_buffer.speech_started")[-1] in speaking.events[-20:]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    (item,) = response["output"]
    assert item["status"] == "incomplete"
    assert speaking.kinds[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]


async def test_the_interrupting_question_is_answered(speaking: Client) -> None:
    await speaking.speak(said())
    await speaking.until("response.done")
    created = await speaking.until("response.created")
    assert created["response"]["id"] != speaking.of("response.created")[0]["response"]["id"]
    assert speaking.of("input_audio_buffer.committed")[-1]["previous_item_id"]


async def test_a_click_interrupts_nothing(speaking: Client) -> None:
    click = silence(0.2) + pcm24(QUESTION)[: 2 * round(0.04 * 24_000)] + silence(0.5)
    await speaking.speak(click)
    await speaking.send("input_audio_buffer.clear")
    await speaking.until("input_audio_buffer.cleared")
    assert len(speaking.of("input_audio_buffer.speech_started")) == 1
    assert speaking.of("response.done") == []


async def test_without_interrupt_response_the_reply_goes_on_and_the_question_waits_for_its_end() -> None:
    scripted = quick()
    scripted.tts.scripts.append([speech(0.2), 0.7, speech(0.2)])
    async with serving(scripted) as served, served.client() as client:
        detection = {"type": "server_vad", "interrupt_response": False}
        await client.update(audio={"input": {"turn_detection": detection}})
        await client.speak(said())
        await client.until("response.output_audio.delta")
        await client.speak(said())
        first = await client.until("response.done")
        second = await client.until("response.done")
        assert first["response"]["status"] == second["response"]["status"] == "completed"
        assert len(client.of("input_audio_buffer.committed")) == 2


async def test_what_was_said_before_a_response_was_audible_is_remembered_if_it_is_interrupted() -> None:
    scripted = cast(
        asr=[[0.3, "my name is Ada"], [0.01, "my name is Ada"], [0.01, "and who are you"]],
        llm=[typed("A voice.", first_s=0.01)],
    )
    async with serving(scripted) as served, served.client() as client:
        await client.speak(said(then_s=0.7) + said())
        while (await client.until("response.done"))["response"]["status"] != "completed":
            pass
        question = scripted.llm.calls[-1].given["messages"][-1]
        assert question.content == "my name is Ada and who are you"


async def test_truncate_leaves_what_was_played(speaking: Client) -> None:
    await speaking.speak(silence(0.2) + pcm24(QUESTION))
    (item,) = (await speaking.until("response.done"))["response"]["output"]
    await speaking.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=10)
    truncated = await speaking.until("conversation.item.truncated")
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item["id"], 10)
    await speaking.send("conversation.item.retrieve", item_id=item["id"])
    retrieved = await speaking.until("conversation.item.retrieved")
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": ""}]


@pytest.mark.parametrize(
    ("played_ms", "remembered"),
    [
        (0, None),
        (60 * len("The sun is"), "The sun …"),
        (60 * len("The sun is out today."), "The sun is out today. …"),
        (1_000_000, LONG),
    ],
)
async def test_the_llm_gets_of_a_reply_what_was_played(played_ms: int, remembered: str | None) -> None:
    scripted = quick(LONG, "Yes.")
    async with serving(scripted) as served, served.client() as client:
        await client.speak(said())
        (item,) = (await client.until("response.done"))["response"]["output"]
        await client.send(
            "conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=played_ms
        )
        await client.until("conversation.item.truncated")
        await client.speak(said())
        await client.until("response.done")
    messages = scripted.llm.calls[1].given["messages"]
    replies = [one.content for one in messages if one.role == "assistant"]
    assert replies == ([remembered] if remembered else [])


async def test_clearing_the_output_ends_the_response(speaking: Client) -> None:
    await speaking.send("output_audio_buffer.clear")
    assert (await speaking.until("response.done"))["response"]["status"] == "cancelled"


async def test_events_of_a_cancelled_response_do_not_come_afterwards(speaking: Client) -> None:
    await speaking.send("response.cancel")
    done = await speaking.until("response.done")
    await asyncio.sleep(0.2)
    await speaking.send("input_audio_buffer.clear")
    await speaking.until("input_audio_buffer.cleared")
    after = speaking.events[speaking.events.index(done) + 1 :]
    assert [event["type"] for event in after] == ["input_audio_buffer.cleared"]
