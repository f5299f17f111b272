"""One recording answered by a deployment: what `modal run` of the orchestrator's apps does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from orchestrator.turn_calls import as_mp3
from shared.audio.decode import to_pcm
from shared.audio.pcm import encode_wav
from shared.errors import SpeechError
from shared.settings import settings
from shared.turn import TurnRequest, TurnResult


def answer_recording(run_turn: Callable[[TurnRequest], Any], audio_path: str, output_path: str) -> None:
    """Have `run_turn` (a Modal function's `remote`) make a TurnResult of it, write the spoken reply as
    WAV, and tell what was said. Ends the program with a line where that fails."""
    try:
        request = TurnRequest(audio=as_mp3(Path(audio_path).read_bytes(), settings()))
        result = cast(TurnResult, run_turn(request))
        if result.failure:
            raise result.failure.to_error()
    except (OSError, SpeechError) as error:
        raise SystemExit(f"speech-to-speech: {error}") from None
    if result.audio is None:
        raise SystemExit(f"speech-to-speech: nobody speaks in {audio_path}.")
    Path(output_path).write_bytes(encode_wav(to_pcm(result.audio)))
    _tell(f"You:   {result.transcript}\nReply: {result.reply}\nWrote {output_path}.")


def _tell(text: str) -> None:
    print(text)  # noqa: T201 (it is a command's output)
