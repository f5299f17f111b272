"""`s2s turn` refused or interrupted: an exit code, one line that says why, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from client.errors import ExitCode
from shared.errors import Stage
from tests.client.test_turn_answers_command import EXAMPLE, example, wav
from tests.support.processes import is_running
from tests.support.s2s_command import S2S, refused, s2s, s2s_with_engine
from tests.support.waiting import GIVE_UP_S, until

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.mark.parametrize(
    ("data", "saying"),
    [
        (b"", "empty"),
        (np.random.default_rng(1).bytes(200_000), "audio"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "audio"),
        (wav(np.zeros(0)), "0.000 s"),
        (wav(np.zeros(800)), "0.1 s"),
        (wav(np.full(16_000, np.nan), subtype="FLOAT"), "numbers"),
        (wav(np.full(16_000, np.inf), subtype="FLOAT"), "numbers"),
        (wav(np.zeros(30 * 60 * 8_000), 8_000), "120 s"),
    ],
    ids=["empty", "random", "html", "0 samples", "50 ms", "nan", "infinite", "30 minutes"],
)
def test_what_is_no_usable_audio_is_refused_by_a_line_that_says_why(data: bytes, saying: str) -> None:
    Path("input.wav").write_bytes(data)
    refused(s2s("turn", "input.wav"), 4, saying)
    assert not Path("output.mp3").exists()


def test_a_missing_file_is_refused() -> None:
    refused(s2s("turn", "nowhere.wav"), 4, "There is no file nowhere.wav")


def test_a_directory_is_refused() -> None:
    refused(s2s("turn", "."), 4, "directory")


@pytest.mark.parametrize(
    ("output", "saying"),
    [
        ("nowhere/reply.mp3", "no directory nowhere"),
        ("reply.ogg", ".mp3 or .wav"),
        ("folder.mp3", "directory"),
        ("/proc/reply.mp3", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(output: str, saying: str) -> None:
    Path("folder.mp3").mkdir()
    refused(s2s("turn", EXAMPLE, "-o", output), 7, saying)


def test_an_unknown_engine_is_refused_with_the_names_that_exist() -> None:
    refused(s2s("turn", EXAMPLE, ASR_MODEL="nonsense"), 5, "pocketsphinx")


def test_an_engine_that_fails_to_load_is_refused_with_its_reason_and_nothing_is_asked_of_the_others(
    tmp_path: Path,
) -> None:
    source = (
        "from shared.engines import EngineSpec, TTSModel, register_model\n"
        "@register_model('tts', 'mine', EngineSpec(summary='Cannot be loaded.', licence='MIT'))\n"
        "class Mute(TTSModel):\n"
        "    model_name, sample_rate_hz = 'Mute', 16_000\n"
        "    def load(self): raise OSError('no voice in this file')\n"
        "    def synthesize(self, text, cancelled, **options): raise AssertionError\n"
    )
    run = s2s_with_engine(Stage.TTS, source, "turn", EXAMPLE, folder=tmp_path)
    assert run.returncode == 5
    assert run.stderr == "s2s: Mute: no voice in this file\n"
    assert run.stdout == ""


def test_a_system_prompt_without_end_is_refused() -> None:
    refused(s2s("turn", EXAMPLE, "--system", "x" * 20_000), 4, "system_prompt")


def test_a_wrong_setting_is_refused_by_its_name() -> None:
    refused(s2s("turn", EXAMPLE, S2S_MP3_BITRATE_KBPS="loud"), 5, "S2S_MP3_BITRATE_KBPS")


def test_an_error_is_also_told_in_json() -> None:
    result = s2s("turn", "nowhere.wav", "--json")
    assert json.loads(result.stdout)["error"]["kind"] == "bad_audio"
    assert result.exit_code == 4


WATCHED = """
from pathlib import Path
from services.asr.pocketsphinx import PocketsphinxASR
from shared.engines import register_model

@register_model("asr", "watched", PocketsphinxASR.spec)
class Watched(PocketsphinxASR):
    def transcribe(self, pcm, **options):
        Path("transcribing").touch()
        text = super().transcribe(pcm, **options)
        Path("transcribed").touch()
        return text
"""


def test_ctrl_c_during_recognition_ends_it_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    Path("long.wav").write_bytes(wav(np.tile(example(), 30)))
    (tmp_path / "watched.py").write_text(WATCHED)
    code = f"import services.asr; services.asr.__path__.append({str(tmp_path)!r}); {S2S[2]}"
    running = subprocess.Popen(
        [sys.executable, "-c", code, "turn", "long.wav"],
        env={**os.environ, "ASR_MODEL": "watched", "TTS_MODEL": "espeak"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(Path("transcribing").exists)
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=GIVE_UP_S)
    assert running.returncode == ExitCode.INTERRUPTED, stderr
    assert stderr.splitlines() == ["s2s: Interrupted."]
    assert children
    until(lambda: not any(map(is_running, children)))
    assert not Path("transcribed").exists()
    assert not Path("output.mp3").exists()
