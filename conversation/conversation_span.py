"""The span of a turn as its listener experienced it: the root of the turn's trace."""

from conversation.turn_record import TurnRecord
from shared.telemetry import VOICE_TO_VOICE, Span, record, start_span

_PARTS = ("pause", "first_audio", "held", "playback")


def start_conversation_span(session_id: str, began_s_ago: float) -> Span:
    """The person began to speak this long ago."""
    return start_span(
        "conversation turn", began_s_ago=began_s_ago, attributes={"gen_ai.conversation.id": session_id}
    )


def end_conversation_span(span: Span, turn: TurnRecord, asked_us: int) -> None:
    """The turn is over; its request was sent this long after the person began to speak."""
    span.set(
        {
            "s2s.outcome": turn.outcome,
            "s2s.turn_id": turn.turn_id or None,
            "s2s.reply_s": turn.reply_us / 1e6,
            "s2s.played_s": turn.played_us / 1e6,
            "s2s.underruns": turn.underruns,
            "s2s.dropped_requests": len(turn.dropped_requests_us),
            "s2s.hidden_s": turn.hidden_us / 1e6,
        }
    )
    if turn.failure:
        span.fail(turn.failure)
    if spans := turn.voice_to_voice:
        span.set({"s2s.voice_to_voice_s": spans.total_us / 1e6})
        record(VOICE_TO_VOICE, spans.total_us / 1e6)
        start_us = asked_us - spans.pause_us
        voice_to_voice = span.child("voice to voice", start_us, spans.total_us)
        start_us = 0
        for part in _PARTS:
            duration_us: int = getattr(spans, f"{part}_us")
            voice_to_voice.child(part.replace("_", " "), start_us, duration_us)
            start_us += duration_us
    span.end()
