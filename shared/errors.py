"""What can go wrong in a turn: one class per kind, typed, picklable, with a message for a person.

Each error names the stage where it happened and says whether trying again can help.
"""

from enum import StrEnum


class Stage(StrEnum):
    """Where in a turn something happens."""

    ORCHESTRATOR = "orchestrator"
    ASR = "asr"
    LLM = "llm"
    TTS = "tts"


class SpeechError(Exception):
    """Base of all errors of this product.

    `kind` is the stable name that travels in events and JSON; `retryable` says whether the same
    request can succeed when it is sent again.
    """

    kind: str = "error"
    retryable: bool = False

    def __init__(self, message: str, stage: Stage = Stage.ORCHESTRATOR) -> None:
        self.message = str(message)  # an engine may raise one with anything
        self.stage = Stage(stage)
        super().__init__(self.message, self.stage)  # all of it in args, so that pickle can rebuild it

    def __str__(self) -> str:
        return self.message


class BadAudio(SpeechError):
    """The bytes are no audio that can be used; the message says why."""

    kind = "bad_audio"


class TooLong(SpeechError):
    """The audio or the request is above a bound."""

    kind = "too_long"


class BadRequest(SpeechError):
    """A payload does not hold what its type promises."""

    kind = "bad_request"


class NoSpeech(SpeechError):
    """The audio is fine, and nobody speaks in it."""

    kind = "no_speech"


class Misconfigured(SpeechError):
    """A setting names something that does not exist or cannot be used."""

    kind = "misconfigured"


class EngineLoadFailed(SpeechError):
    """The selected engine could not be loaded."""

    kind = "engine_load_failed"


class WeightsMissing(SpeechError):
    """The engine's weights are not where it looks for them."""

    kind = "weights_missing"


class StageFailed(SpeechError):
    """The engine of a stage failed while it worked."""

    kind = "stage_failed"
    retryable = True


class StageTimedOut(SpeechError):
    """A stage did not start, or did not go on, in time."""

    kind = "stage_timed_out"
    retryable = True


class AttemptLost(SpeechError):
    """The work was interrupted and restarted elsewhere; the outputs of two runs cannot be joined."""

    kind = "attempt_lost"
    retryable = True


class Overloaded(SpeechError):
    """There is more work than this deployment takes at once."""

    kind = "overloaded"
    retryable = True


_ALL: tuple[type[SpeechError], ...] = (SpeechError, *SpeechError.__subclasses__())

ERRORS_BY_KIND = {error.kind: error for error in _ALL}
"""Every error class by its `kind`."""
