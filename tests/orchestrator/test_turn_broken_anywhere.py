"""Every stage breaks at every point of its work, in every way: the events stay whole."""

from collections.abc import Sequence

import pytest

from shared.errors import Stage
from shared.turn import TranscriptReady, TurnCompleted, TurnFailed
from tests.orchestrator.test_turn import chunks_of, end_of, reply_of
from tests.support.scripted_stages import (
    BREAK_OFF,
    HANG,
    RESTART,
    SPLICE,
    Cast,
    Script,
    Step,
    cast,
    run_turn,
    speech,
)
from tests.support.virtual_clock import play

WORDS = ["It ", "is ", "sunny ", "outside. ", "Take ", "a ", "hat ", "with ", "you. ", "And ", "water."]
OUTPUTS: dict[Stage, Sequence[Step]] = {
    Stage.ASR: ["what is the weather like"],
    Stage.LLM: WORDS,
    Stage.TTS: [speech(0.5), speech(0.5), speech(0.5)],
}
OF_ANOTHER_ATTEMPT: dict[Stage, Sequence[Step]] = {
    Stage.ASR: ["WHAT IS THE WEATHER LIKE"],
    Stage.LLM: [word.upper() for word in WORDS],
    Stage.TTS: [speech(0.25), speech(0.25), speech(0.25)],
}
POINTS = [(stage, point) for stage, outputs in OUTPUTS.items() for point in range(len(outputs) + 1)]
BREAKS: dict[str, Step] = {
    "fails": ConnectionError("gone"),
    "falls silent": HANG,
    "breaks off": BREAK_OFF,
    "restarts": RESTART,
    "is spliced": SPLICE,
}


def timed(outputs: Sequence[Step], pause_s: float) -> list[Step]:
    return [step for output in outputs for step in (pause_s, output)]


def breaking(stage: Stage, point: int, break_: Step, pause_s: float) -> Cast:
    """A stage that breaks after so many outputs; what it says then, or when asked again, is another's."""
    scripts: dict[Stage, list[Script]] = {
        name: [timed(outputs, pause_s)] for name, outputs in OUTPUTS.items()
    }
    another = timed(OF_ANOTHER_ATTEMPT[stage], pause_s)
    scripts[stage] = [[*timed(OUTPUTS[stage][:point], pause_s), pause_s, break_, *another], another]
    return cast(asr=scripts[Stage.ASR], llm=scripts[Stage.LLM], tts=scripts[Stage.TTS])


@pytest.mark.parametrize("pause_s", [0.02, 0.7], ids=["fast", "slow"])
@pytest.mark.parametrize("break_", list(BREAKS.values()), ids=list(BREAKS))
@pytest.mark.parametrize(("stage", "point"), POINTS)
def test_a_stage_that_breaks_never_joins_two_attempts_and_leaves_nothing_running(
    stage: Stage, point: int, break_: Step, pause_s: float
) -> None:
    scripted = breaking(stage, point, break_, pause_s)
    emitted = play(run_turn(scripted))
    end = end_of(emitted)
    assert scripted.under_way == []
    assert isinstance(end, TurnCompleted) or (isinstance(end, TurnFailed) and end.retryable)
    assert sum(span.duration_us for span in end.ledger.spans) == end.ledger.total_us

    transcripts = [t.event.text for t in emitted if isinstance(t.event, TranscriptReady)]
    assert len(transcripts) <= 1

    reply, whole = reply_of(emitted), "".join(WORDS)
    assert whole.startswith(reply) or whole.upper().startswith(reply)
    assert isinstance(end, TurnFailed) or len(reply) == len(whole)

    chunks = chunks_of(emitted)
    assert [(c.index, c.segment) for c in chunks] == sorted({(c.index, c.segment) for c in chunks})
    spoken = " ".join(dict.fromkeys(chunk.text for chunk in chunks))
    assert reply.startswith(spoken)
    for index in {chunk.index for chunk in chunks}:
        assert len({chunk.audio.duration_s for chunk in chunks if chunk.index == index}) == 1
