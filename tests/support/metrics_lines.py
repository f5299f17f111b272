"""Lines of metrics files that hold together, and are otherwise anything."""

from hypothesis import strategies as st

from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsLine
from conversation.turn_record import EndOfTurn, TurnRecord, VoiceToVoice
from shared.errors import Stage
from shared.ledger import Ledger, Span, StageBusy
from shared.turn import Failure, Models

SPANS = ("pause_us", "first_audio_us", "held_us", "playback_us")

durations_us = st.integers(0, 60_000_000)
identifiers = st.sampled_from(["one", "two", "three"])
failures = st.builds(
    Failure,
    kind=st.just("stage_failed"),
    stage=st.sampled_from(Stage),
    retryable=st.booleans(),
    message=st.text(max_size=20),
)
ends = st.builds(
    EndOfTurn,
    ended_by=st.sampled_from(["silence", "model", "fallback"]),
    silence_us=durations_us,
    spoke_on=st.booleans(),
)
STARTED = ConversationStarted(session_id="one")


def turn(**fields: object) -> TurnRecord:
    return TurnRecord.model_validate(
        {"session_id": "one", "began_us": 0, "ended_us": 1, "outcome": "interrupted"} | fields
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    spans = draw(st.lists(durations_us, min_size=1, max_size=3))
    return Ledger(
        spans=tuple(Span(stage=Stage.TTS, activity="work", duration_us=us) for us in spans),
        time_to_first_audio_us=spans[0],
        total_us=sum(spans),
        busy=tuple(StageBusy(stage=stage, calls=1, busy_us=draw(durations_us)) for stage in Stage),
    )


@st.composite
def turn_records(draw: st.DrawFn) -> TurnRecord:
    outcome = draw(st.sampled_from(["completed", "interrupted", "failed", "no_speech"]))
    ledger = draw(ledgers()) if outcome == "completed" else draw(st.none() | ledgers())
    spans = draw(st.none() | st.fixed_dictionaries(dict.fromkeys(SPANS, durations_us)))
    first_audio_us = spans["first_audio_us"] if spans else 0
    began_us, reply_us = draw(durations_us), draw(durations_us)
    return TurnRecord(
        session_id=draw(identifiers),
        began_us=began_us,
        ended_us=began_us + draw(durations_us),
        outcome=outcome,
        failure=draw(failures) if outcome == "failed" else None,
        voice_to_voice=VoiceToVoice(**spans, total_us=sum(spans.values())) if spans else None,
        end_to_end_us=first_audio_us + draw(durations_us) if ledger else None,
        ledger=ledger,
        models=Models(asr="tiny", llm=draw(st.sampled_from(["", "rules", "другая модель"]))),
        reply_us=reply_us,
        played_us=draw(st.integers(0, reply_us)),
        underruns=draw(st.integers(0, 3)),
        kept_speculation_us=draw(st.none() | durations_us),
        ends=tuple(draw(st.lists(ends, max_size=2))),
        dropped_requests_us=tuple(draw(st.lists(durations_us, max_size=2))),
    )


metrics_lines: st.SearchStrategy[list[MetricsLine]] = st.lists(
    turn_records()
    | st.builds(ConversationStarted, session_id=identifiers)
    | st.builds(
        ConversationEnded, session_id=identifiers, duration_us=durations_us, microphone_lost_us=durations_us
    ),
    max_size=6,
)
