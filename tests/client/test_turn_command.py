"""`s2s turn`: where the reply goes, to a loudspeaker or to standard output."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from client.errors import ExitCode
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.settings import Settings
from tests.support.paths import EXAMPLES
from tests.support.s2s_command import S2S, refused, s2s, s2s_with_engine
from tests.support.scripted_portaudio import ScriptedPortAudio, ScriptedStream

EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"
pytestmark = pytest.mark.usefixtures("engines_stay_loaded")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def loudspeaker(monkeypatch: pytest.MonkeyPatch) -> ScriptedPortAudio:
    portaudio = ScriptedPortAudio(plays_by_itself=True)
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
    return portaudio


def test_the_reply_is_played_to_its_end_on_the_loudspeaker(loudspeaker: ScriptedPortAudio) -> None:
    result = s2s("turn", EXAMPLE, "-o", "reply.wav", "--play")
    assert result.exit_code == 0, result.output
    [stream] = loudspeaker.streams
    assert stream.closed
    heard = Pcm(np.concatenate(stream.heard), round(stream.samplerate))
    reply = decode_audio(Path("reply.wav").read_bytes(), Settings())
    assert sounding_s(heard) == pytest.approx(sounding_s(reply), abs=0.1)


def sounding_s(pcm: Pcm) -> float:
    """From the first sample that is not quite silent to the last."""
    return float(np.ptp(np.flatnonzero(np.abs(pcm.samples) > 0.001))) / pcm.sample_rate_hz


def test_naming_a_loudspeaker_plays_the_reply(loudspeaker: ScriptedPortAudio) -> None:
    assert s2s("turn", EXAMPLE, "--output-device", "the output").exit_code == 0
    assert np.concatenate(loudspeaker.streams[0].heard).any()


def test_a_loudspeaker_that_is_not_there_is_refused_before_the_question_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    refused(s2s("turn", EXAMPLE, "--output-device", "gramophone"), ExitCode.MISCONFIGURED, "sounddevice")
    assert not Path("output.mp3").exists()


def test_without_anything_to_play_it_on_the_reply_is_written_and_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = s2s("turn", EXAMPLE, "--play")
    assert result.exit_code == 0, result.output
    assert "four" in result.stdout.lower()
    assert "The reply could not be played: This needs the library sounddevice" in result.stderr
    assert decode_audio(Path("output.mp3").read_bytes(), Settings()).duration_s > 0.5


def test_a_loudspeaker_that_goes_away_does_not_end_the_turn(
    loudspeaker: ScriptedPortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedStream, "_play", lambda stream: setattr(stream, "active", False))
    result = s2s("turn", EXAMPLE, "--play")
    assert result.exit_code == 0, result.output
    assert "is it still plugged in?" in " ".join(result.stderr.split())
    assert Path("output.mp3").exists()


def test_the_reply_can_go_to_standard_output_and_what_is_said_to_standard_error() -> None:
    result = s2s("turn", EXAMPLE, "-o", "-")
    assert result.exit_code == 0, result.stderr
    assert decode_audio(result.stdout_bytes, Settings()).duration_s > 0.5
    assert "four" in result.stderr.lower()
    assert not list(Path().iterdir())


def test_json_and_audio_do_not_share_standard_output() -> None:
    assert s2s("turn", EXAMPLE, "-o", "-", "--json").exit_code == ExitCode.USAGE


def test_what_models_write_cannot_control_the_terminal(tmp_path: Path) -> None:
    source = (
        "from shared.engines import EngineSpec, LLMModel, register_model\n"
        "from shared.payloads import TextDelta\n"
        "@register_model('llm', 'mine', EngineSpec(summary='Hostile.', licence='MIT'))\n"
        "class Hostile(LLMModel):\n"
        "    model_name = 'Hostile'\n"
        "    def load(self): pass\n"
        "    async def generate(self, messages, **options):\n"
        "        yield TextDelta(text='I clear \\x1b[2J your \\x1b]0;screen\\x07 now.')\n"
    )
    run = s2s_with_engine(Stage.LLM, source, "turn", EXAMPLE, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "I clear [2J your ]0;screen now." in run.stdout
    assert "\x1b" not in run.stdout


TERMINATED = """
import os, signal, threading
from shared.engines import ASRModel, EngineSpec, register_model

@register_model("asr", "terminated", EngineSpec(summary="Terminates the process.", licence="MIT"))
class Terminated(ASRModel):
    model_name = "Terminated"
    def load(self):
        self.closed = threading.Event()
    def transcribe(self, pcm, **options):
        os.kill(os.getpid(), signal.{signal})
        self.closed.wait(600)
        return "hello"
    def close(self):
        self.closed.set()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("sigint", ["default_int_handler", "SIG_IGN"])
def test_being_terminated_ends_it_as_ctrl_c_does_also_in_the_background(
    name: str, sigint: str, tmp_path: Path
) -> None:
    (tmp_path / "terminated.py").write_text(TERMINATED.format(signal=name))
    code = f"import services.asr; services.asr.__path__.append({str(tmp_path)!r}); import signal; "
    code += f"signal.signal(signal.SIGINT, signal.{sigint}); {S2S[2]}"
    run = subprocess.run(
        [sys.executable, "-c", code, "turn", EXAMPLE],
        env={**os.environ, "ASR_MODEL": "terminated", "TTS_MODEL": "espeak"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == ExitCode.INTERRUPTED, run.stderr
    assert run.stderr.startswith("s2s: Interrupted.")
    assert not Path("output.mp3").exists()
