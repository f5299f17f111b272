"""A spoken question is answered by speech: what comes, and in which order."""

from tests.support.realtime_client import QUESTION, Client, said, serving
from tests.support.scripted_stages import Script, cast, typed

QUICKLY: Script = [0.02, "what is the weather like"]


async def test_a_spoken_question_is_answered_in_the_documented_order() -> None:
    scripted = cast(asr=[QUICKLY], llm=[typed("It is sunny.", first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.speak(said())
        await client.until("response.done")
        assert client.kinds == [
            "session.created",
            "session.updated",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        check_that_items_agree(client)
        assert client.transcript == "It is sunny."
        spoken_s = 0.06 * len("It is sunny.")  # the scripted voice's
        assert abs(len(client.audio) / 48_000 - spoken_s) < 0.001


def check_that_items_agree(client: Client) -> None:
    (started,) = client.of("input_audio_buffer.speech_started")
    (stopped,) = client.of("input_audio_buffer.speech_stopped")
    (committed,) = client.of("input_audio_buffer.committed")
    question, answer = client.of("conversation.item.added")
    assert started["item_id"] == stopped["item_id"] == committed["item_id"] == question["item"]["id"]
    assert question["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert answer["previous_item_id"] == question["item"]["id"]
    assert answer["item"]["status"] == "in_progress"
    (done,) = client.of("response.done")
    (output,) = done["response"]["output"]
    assert output["id"] == answer["item"]["id"]
    assert output["status"] == done["response"]["status"] == "completed"
    assert output["content"] == [{"type": "output_audio", "transcript": "It is sunny."}]
    (completed,) = client.of("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "what is the weather like"
    assert abs(completed["usage"]["seconds"] - QUESTION.duration_s) < 0.5


async def test_no_piece_of_audio_is_longer_than_a_tenth_of_a_second() -> None:
    scripted = cast(asr=[QUICKLY], llm=[typed("It is sunny outside, and it will stay so.", first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        await client.speak(said())
        await client.until("response.done")
        pieces = [len(event["delta"]) for event in client.of("response.output_audio.delta")]
        assert len(pieces) > 10
        assert max(pieces) == 4 * 4_800 // 3


async def test_the_conversation_is_remembered() -> None:
    scripted = cast(asr=[QUICKLY], llm=[typed("It is sunny.", first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        for _ in range(2):
            await client.speak(said())
            await client.until("response.done")
        roles = [(one.role, one.content) for one in scripted.llm.calls[-1].given["messages"][1:]]
        assert roles == [
            ("user", "what is the weather like"),
            ("assistant", "It is sunny."),
            ("user", "what is the weather like"),
        ]
