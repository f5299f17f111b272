"""Maps Modal's exceptions to SpeechErrors: with the stage, whether a retry can help, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from modal import exception

from shared.deployment import APPS, MONOLITH_APP
from shared.errors import (
    AttemptLost,
    Misconfigured,
    Overloaded,
    SpeechError,
    Stage,
    StageFailed,
    StageTimedOut,
)


@contextmanager
def typed_errors(stage: Stage, app: str | None = None) -> Iterator[None]:
    """Around calls of a stage's app, or of another one that is named: whatever is raised leaves as a
    SpeechError; what is none becomes one of that stage."""
    try:
        yield
    except SpeechError:
        raise
    except Exception as error:
        raise as_speech_error(error, stage, app or APPS[stage]) from error


def as_speech_error(error: Exception, stage: Stage, app: str) -> SpeechError:
    """The SpeechError for an exception of Modal's, or of a container."""
    who = "orchestrator" if stage is Stage.ORCHESTRATOR else stage.upper()
    detail = " ".join(str(error).split()) or type(error).__name__
    match error:
        case exception.AuthError():
            remedy = "" if "modal token new" in detail else " Run: modal token new"
            return Misconfigured(f"Modal does not let you in: {detail}{remedy}", stage)
        case exception.NotFoundError():
            target = "monolith" if app == MONOLITH_APP else stage
            return Misconfigured(f"The app {app} is not deployed. Run: make deploy-{target}", stage)
        case exception.PermissionDeniedError():
            return Misconfigured(f"Your Modal account may not do this: {detail}", stage)
        case exception.ResourceExhaustedError():
            return Overloaded(
                f"Modal has nothing left for the {who}: {detail} Try again, or raise your limits there.",
                stage,
            )
        case exception.FunctionTimeoutError():
            return StageTimedOut(f"Modal ended a call of the {who} that took too long: {detail}", stage)
        case exception.InternalFailure():
            return AttemptLost(f"The container of the {who} died: {detail}", stage)
        case exception.ConnectionError() | exception.ServiceError() | exception.InternalError():
            return StageFailed(f"Modal does not answer: {detail} Is there a network? Try again.", stage)
        case exception.VersionError() | exception.DeserializationError() | exception.SerializationError():
            return Misconfigured(
                f"This side and the deployed {who} are of different versions: {detail} Deploy again.", stage
            )
        case _:
            return StageFailed(f"The {who} failed: {type(error).__name__}: {detail}", stage)
