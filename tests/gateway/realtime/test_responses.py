"""response.create and response.cancel: text and audio, overrides, out of band, one at a time."""

import gc
from typing import Any

import pytest
import soxr

from gateway.realtime.items import GO_ON
from shared.errors import Misconfigured, Stage
from shared.payloads import TokenUsage
from tests.gateway.realtime.conftest import REPLY, quick
from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import Client, kinds_of, said, serving
from tests.support.scripted_stages import HANG, Cast, cast, typed
from tests.support.waiting import until_async


async def test_a_typed_question_is_answered_by_speech(client: Client) -> None:
    await create(client, text_item("Hello."))
    await client.send("response.create")
    done = await client.until("response.done")
    assert client.transcript == REPLY
    assert client.audio
    assert done["response"]["status"] == "completed"


async def test_a_session_that_waits_for_the_next_question_keeps_no_resampler(client: Client) -> None:
    def resamplers() -> int:
        gc.collect()
        return sum(isinstance(one, soxr.ResampleStream) for one in gc.get_objects())

    before = resamplers()
    await client.send("response.create")
    await client.until("response.output_audio.delta")
    await client.until("response.done")
    assert resamplers() <= before


async def test_a_reply_of_text_is_not_synthesized(client: Client, scripted: Cast) -> None:
    await client.update(output_modalities=["text"])
    await create(client, text_item("Hello."))
    before = len(client.events)
    await client.send("response.create")
    done = await client.until("response.done")
    assert [kind for kind in kinds_of(client.events[before:]) if kind != "response.output_text.delta"] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert "".join(event["delta"] for event in client.of("response.output_text.delta")) == REPLY
    assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": REPLY}]
    assert scripted.tts.calls == []


async def test_a_response_overrides_the_session_for_itself(client: Client, scripted: Cast) -> None:
    await client.update(instructions="Be brief.")
    await create(client, text_item("Hello."))
    await client.send(
        "response.create",
        response={"instructions": "Rhyme.", "output_modalities": ["text"], "max_output_tokens": 7},
    )
    await client.until("response.done")
    await client.send("response.create")
    await client.until("response.done")
    first, second = scripted.llm.calls
    assert first.given["messages"][0].content == "Rhyme."
    assert first.given["max_tokens"] == 7
    assert second.given["messages"][0].content == "Be brief."
    assert len(scripted.tts.calls) == 1


async def test_metadata_is_echoed(client: Client) -> None:
    await client.send("response.create", response={"metadata": {"topic": "weather"}})
    created = await client.until("response.created")
    done = await client.until("response.done")
    assert created["response"]["metadata"] == done["response"]["metadata"] == {"topic": "weather"}


async def test_a_response_that_nobody_asked_for_has_something_to_answer(
    client: Client, scripted: Cast
) -> None:
    await client.send("response.create", response={"instructions": "Greet the user."})
    await client.until("response.done")
    messages = scripted.llm.calls[0].given["messages"]
    assert [(one.role, one.content) for one in messages] == [("system", "Greet the user."), ("user", GO_ON)]


async def test_a_response_out_of_band_leaves_the_conversation_alone(client: Client, scripted: Cast) -> None:
    await create(client, text_item("Remember this.", id="kept"))
    items_before = len(client.of("conversation.item.added"))
    await client.send(
        "response.create",
        response={
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"kind": "title"},
            "input": [text_item("Make a title."), {"type": "item_reference", "id": "kept"}],
        },
    )
    done = await client.until("response.done")
    assert done["response"]["metadata"] == {"kind": "title"}
    assert "conversation_id" not in done["response"]
    assert len(client.of("conversation.item.added")) == items_before
    assert scripted.llm.calls[0].given["messages"][-1].content == "Make a title. Remember this."
    await client.send("response.create")
    await client.until("response.done")
    assert scripted.llm.calls[1].given["messages"][-1].content == "Remember this."


async def test_usage_is_estimated(client: Client) -> None:
    await create(client, text_item("Hello."))
    await client.send("response.create")
    usage = (await client.until("response.done"))["response"]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_token_details"]["audio_tokens"] == pytest.approx(0.06 * len(REPLY) * 20, abs=1)


@pytest.fixture
async def waiting() -> Any:
    """A client whose response never comes."""
    scripted = cast(llm=[[HANG], typed(REPLY, first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        await create(client, text_item("Hello."))
        await client.send("response.create")
        await client.until("response.created")
        yield client


async def test_one_response_at_a_time(waiting: Client) -> None:
    await waiting.send("response.create", event_id="second")
    error = await waiting.error()
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "second"


async def test_but_one_out_of_band_beside_it(waiting: Client) -> None:
    await waiting.send("response.create", response={"conversation": "none", "metadata": {"n": "1"}})
    done = await waiting.until("response.done")
    assert done["response"]["metadata"] == {"n": "1"}
    assert done["response"]["status"] == "completed"


async def test_a_response_is_cancelled(waiting: Client) -> None:
    await waiting.send("response.cancel")
    done = await waiting.until("response.done")
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    await waiting.send("response.create")
    assert (await waiting.until("response.done"))["response"]["status"] == "completed"


async def test_another_may_be_created_at_once_behind_a_cancel(waiting: Client) -> None:
    await waiting.send("response.cancel")
    await waiting.send("response.create")
    statuses = [(await waiting.until("response.done"))["response"]["status"] for _ in range(2)]
    assert statuses == ["cancelled", "completed"]


async def test_nothing_to_cancel_is_an_error_that_clients_know(client: Client) -> None:
    await client.send("response.cancel", event_id="mine")
    error = await client.error()
    assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "mine")


async def test_a_client_that_leaves_cancels_its_response() -> None:
    scripted = cast(llm=[[HANG]])
    async with serving(scripted) as served:
        async with served.client() as client:
            await client.send("response.create")
            await client.until("response.created")
            await until_async(lambda: scripted.llm.calls)
        await until_async(lambda: not scripted.under_way)


async def test_a_reply_that_fails_is_reported_by_its_response() -> None:
    scripted = cast(llm=[[Misconfigured("No key.", Stage.LLM)], typed(REPLY, first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        await client.send("response.create")
        response = (await client.until("response.done"))["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"] == {
            "type": "server_error",
            "code": "misconfigured",
            "message": "No key.",
        }
        await client.send("response.create")
        assert (await client.until("response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize("speed", [0.5, 1.5])
async def test_replies_are_spoken_at_the_clients_speed(client: Client, speed: float) -> None:
    await client.update(audio={"output": {"speed": speed}})
    await client.send("response.create")
    response = (await client.until("response.done"))["response"]
    usual_s = 0.06 * len(REPLY)
    assert len(client.audio) / 48_000 == pytest.approx(usual_s / speed, abs=0.05)
    spoken = response["usage"]["output_token_details"]["audio_tokens"]
    assert spoken == pytest.approx(20 * usual_s / speed, abs=1)


async def test_voices_are_what_the_table_says() -> None:
    scripted = quick()
    async with serving(scripted, voices="marin=amy") as served, served.client() as client:
        await client.update(audio={"output": {"voice": "marin"}})
        await client.send("response.create")
        await client.until("response.done")
        await client.send("response.create", response={"audio": {"output": {"voice": "ash"}}})
        await client.until("response.done")
    assert [voice for voice, _ in scripted.tts.voices] == ["amy", None]


async def test_a_reply_that_the_llm_had_to_break_off_is_incomplete() -> None:
    scripted = quick("It is sunny in")
    scripted.llm.tokens = TokenUsage(input_tokens=9, output_tokens=4, at_limit=True)
    async with serving(scripted) as served, served.client() as client:
        await client.speak(said())
        response = (await client.until("response.done"))["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
