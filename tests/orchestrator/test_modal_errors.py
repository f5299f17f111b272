"""What Modal says, as an error that names the stage, says whether a retry can help, and what to do."""

import pytest
from modal import exception

from orchestrator.modal_errors import typed_errors
from shared.errors import (
    AttemptLost,
    BadAudio,
    Misconfigured,
    Overloaded,
    SpeechError,
    Stage,
    StageFailed,
    StageTimedOut,
)


@pytest.mark.parametrize(
    ("raised", "kind", "saying"),
    [
        (exception.AuthError("Token missing."), Misconfigured, "modal token new"),
        (exception.NotFoundError("no app"), Misconfigured, "make deploy-tts"),
        (exception.PermissionDeniedError("not yours"), Misconfigured, "not yours"),
        (exception.VersionError("too old"), Misconfigured, "Deploy again"),
        (exception.DeserializationError("no module x"), Misconfigured, "no module x"),
        (exception.ResourceExhaustedError("quota of 10 GPUs"), Overloaded, "quota of 10 GPUs"),
        (exception.FunctionTimeoutError("300 s"), StageTimedOut, "300 s"),
        (exception.InternalFailure("container died"), AttemptLost, "container died"),
        (exception.ConnectionError("refused"), StageFailed, "network"),
        (exception.RemoteError("what it said"), StageFailed, "what it said"),
        (ZeroDivisionError("in a container"), StageFailed, "ZeroDivisionError: in a container"),
    ],
)
def test_it_becomes_an_error_of_its_kind(raised: Exception, kind: type[SpeechError], saying: str) -> None:
    with pytest.raises(kind, match=saying) as error, typed_errors(Stage.TTS):
        raise raised
    assert error.value.stage is Stage.TTS


def test_an_error_of_ours_passes_as_it_is() -> None:
    ours = BadAudio("no audio", Stage.ASR)
    with pytest.raises(BadAudio) as error, typed_errors(Stage.TTS):
        raise ours
    assert error.value is ours
