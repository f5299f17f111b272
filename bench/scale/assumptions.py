"""What stages, calls and cold starts take: measured where the engine was, else as `s2s cost` takes it."""

from collections.abc import Iterator
from dataclasses import replace

from bench.scale.apps import Times
from bench.scale.day import Day
from bench.scale.turn import FIRST_CLAUSE_S, SENTENCE_S
from client.cost.deployment import Deployment
from client.cost.estimate import Load
from shared.engines import RegisteredModel
from shared.errors import Stage

MEASURED_S = {
    (Stage.ASR, "whisper"): 0.182,
    (Stage.ASR, "pocketsphinx"): 0.457,
    (Stage.LLM, "rules"): 0.001,
}
"""Seconds a turn: of an utterance as people said it, and of a first token (docs/benchmarks.md, README.md;
2026-11-28, 2 virtual cores, no GPU)."""

MEASURED_A_SECOND = {"hibari": 0.010, "flite": 0.012, "espeak": 0.001}
"""Seconds of TTS a second of speech (README.md, the same machine)."""

CALL_S = 0.04
"""A call's way through Modal's control plane: the median that Modal publishes for it. Not measured by us."""

ENGINE_START_S = 25.0
"""A cold start of a container with an engine: an assumption, as nobody has measured ours at Modal."""

BOOT_S = 2.0
"""A cold start of the orchestrator: "containers boot in about one second" (modal.com/docs/guide/cold-start),
and its imports, which take the local cloud another."""

SPREAD = 0.5
"""Standard deviation of an utterance's and a reply's length against its mean; gamma distributed. Assumed."""


def with_measured(load: Load, deployment: Deployment) -> Load:
    """The load with the seconds of the engines that were measured, where none are given."""
    found = {
        model.stage: load.given_s(model.stage) or _measured_s(model, load) for model in deployment.models
    }
    return replace(load, asr_s=found[Stage.ASR], llm_s=found[Stage.LLM], tts_s=found[Stage.TTS])


def assumptions(load: Load, deployment: Deployment, times: Times, day: Day) -> Iterator[str]:
    """What the simulation takes for granted, a sentence each."""
    top = max(range(24), key=lambda hour: day.weights[hour])
    yield (
        f"Turns come in conversations of {load.turns_per_conversation}, which begin independently of each "
        f"other; utterances of {load.utterance_s:g} s and replies of {load.reply_s:g} s on average, gamma "
        f"distributed with a standard deviation of {SPREAD:.0%}; first clauses of {FIRST_CLAUSE_S:g} s and "
        f"sentences of {SENTENCE_S:g} s. The busiest hour is from {top}:00, with {day.peak:.1f} times the "
        "mean load."
    )
    for model in deployment.models:
        busy_s = load.busy_s(model.stage)
        if load.given_s(model.stage) is None:
            yield (
                f"{model.stage.upper()}: {model.name} has not been measured on a GPU. Taken, as by s2s cost: "
                f"{busy_s:g} s a turn, the slowest that keeps up with speech. Give what you measure with "
                f"--{model.stage}-s."
            )
        else:
            how = ", as measured on 2 virtual cores" if busy_s == _measured_s(model, load) else ""
            yield f"{model.stage.upper()}: {model.name} works {busy_s:.3g} s on a turn, by its length{how}."
    yield (
        f"A call takes {times.call_s * 1000:g} ms to its container (--call-ms), a cold start "
        f"{times.boot_s:g} s of the orchestrator (--boot-s) and {times.engine_start_s:g} s of an engine "
        "(--engine-start-s); the monolith's is two of them. How many calls share an engine, or a GPU, does "
        "not slow them."
    )


def _measured_s(model: RegisteredModel, load: Load) -> float | None:
    if model.stage is Stage.TTS and model.name in MEASURED_A_SECOND:
        return MEASURED_A_SECOND[model.name] * load.reply_s
    return MEASURED_S.get((model.stage, model.name))
