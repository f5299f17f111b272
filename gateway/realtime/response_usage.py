"""How many tokens a response took, about: the stages do not count them (see `gateway.usage`)."""

from collections.abc import Sequence

from openai.types.realtime import (
    RealtimeResponseUsage,
    RealtimeResponseUsageInputTokenDetails,
    RealtimeResponseUsageOutputTokenDetails,
)

from gateway.realtime.items import Item, text_of
from gateway.usage import audio_tokens, speech_tokens, text_tokens
from shared.turn import TurnRequest


def usage_of(request: TurnRequest | None, output: Sequence[Item]) -> RealtimeResponseUsage:
    """The usage of a response to this request, None if it was never made, with these items."""
    heard, read = 0, 0
    if request:
        heard = audio_tokens(request.audio.duration_s) if request.audio else 0
        read = text_tokens([request.system_prompt, *(message.content for message in request.conversation)])
    spoken = speech_tokens(sum(item.duration_s for item in output))
    written = text_tokens(map(text_of, output))
    return RealtimeResponseUsage(
        total_tokens=heard + read + spoken + written,
        input_tokens=heard + read,
        output_tokens=spoken + written,
        input_token_details=RealtimeResponseUsageInputTokenDetails(
            text_tokens=read, audio_tokens=heard, cached_tokens=0
        ),
        output_token_details=RealtimeResponseUsageOutputTokenDetails(
            text_tokens=written, audio_tokens=spoken
        ),
    )
