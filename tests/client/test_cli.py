"""The command s2s, as a person or a script uses it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from typer.testing import CliRunner, Result

from client.cli import app
from shared.audio.decode import decode_audio
from shared.audio.pcm import resample
from shared.engines import EngineSpec
from shared.settings import Settings, settings
from tests.support.paths import EXAMPLES

EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"
S2S = [sys.executable, "-c", "from client.cli import main; main()"]


def s2s(*arguments: str | Path, stdin: bytes | None = None, **variables: str) -> Result:
    """Run the command in this process."""
    settings.cache_clear()
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env=variables)
    settings.cache_clear()
    return result


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not [child for child in psutil.Process().children() if "pocketsphinx" in " ".join(child.cmdline())]


def wav(samples: Any, sample_rate_hz: int = 16_000, subtype: str = "PCM_16", **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, subtype=subtype, format=kwargs.get("format", "WAV"))
    return buffer.getvalue()


def example(sample_rate_hz: int = 16_000) -> Any:
    return resample(decode_audio(EXAMPLE.read_bytes(), Settings()), sample_rate_hz).samples


def test_a_question_is_answered() -> None:
    result = s2s("turn", EXAMPLE)
    assert result.exit_code == 0, result.output
    assert "two plus two" in result.stdout
    assert "four" in result.stdout.lower()
    assert "first audio after" in result.stdout
    reply = decode_audio(Path("output.mp3").read_bytes(), Settings())
    assert reply.duration_s > 0.5


def test_the_output_is_mp3_or_wav_by_its_name() -> None:
    assert s2s("turn", EXAMPLE, "-o", "reply.wav").exit_code == 0
    assert soundfile.info("reply.wav").format == "WAV"
    assert s2s("turn", EXAMPLE, "-o", "reply.mp3").exit_code == 0
    assert soundfile.info("reply.mp3").format == "MP3"


def test_json_is_one_object_and_nothing_else() -> None:
    result = s2s("turn", EXAMPLE, "-o", "reply.wav", "--json")
    told = json.loads(result.stdout)
    assert told["outcome"] == "completed"
    assert "two plus two" in told["transcript"]
    assert "four" in told["reply"].lower()
    info = soundfile.info("reply.wav")
    assert told["audio"] == {
        "path": "reply.wav",
        "duration_s": pytest.approx(info.duration, abs=0.001),
        "sample_rate_hz": info.samplerate,
    }
    assert sum(span["duration_us"] for span in told["ledger"]["spans"]) == told["ledger"]["total_us"]
    assert set(told["models"]) == {"asr", "llm", "tts"}
    assert told["error"] is None


def test_the_reply_is_what_the_reply_audio_says(tmp_path: Path) -> None:
    """The whole circle: our own speech, heard again by our own ears."""
    s2s("turn", EXAMPLE, "-o", "reply.wav", TTS_MODEL="espeak")
    assert soundfile.info("reply.wav").samplerate == 22_050


def test_a_recording_can_come_through_standard_input() -> None:
    result = s2s("turn", "-", "--json", stdin=EXAMPLE.read_bytes())
    assert "two plus two" in json.loads(result.stdout)["transcript"]


@pytest.mark.parametrize("claimed", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_streamed_wav_whose_header_gives_no_length_works_too(claimed: int) -> None:
    data = bytearray(wav(example()))
    data[4:8] = claimed.to_bytes(4, "little")
    data[40:44] = claimed.to_bytes(4, "little")
    result = s2s("turn", "-", "--json", stdin=bytes(data))
    assert "two plus two" in json.loads(result.stdout)["transcript"], result.output


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        ("8-bit.wav", lambda: wav(example(), subtype="PCM_U8")),
        ("24-bit.wav", lambda: wav(example(), subtype="PCM_24")),
        ("32-bit.wav", lambda: wav(example(), subtype="PCM_32")),
        ("float.wav", lambda: wav(example(), subtype="FLOAT")),
        ("mu-law.wav", lambda: wav(example(), subtype="ULAW")),
        ("stereo.wav", lambda: wav(np.stack([example(), example()], axis=1))),
        ("8000.wav", lambda: wav(example(8_000), 8_000)),
        ("96000.wav", lambda: wav(example(96_000), 96_000)),
        ("flac", lambda: wav(example(), format="FLAC")),
        ("ogg", lambda: wav(example(), subtype="VORBIS", format="OGG")),
    ],
)
def test_many_kinds_of_recording_are_answered(suffix: str, make: Callable[[], bytes]) -> None:
    Path(f"question.{suffix}").write_bytes(make())
    result = s2s("turn", f"question.{suffix}", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["transcript"]


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["question.m4a", "question.webm"])
def test_what_ffmpeg_reads_is_answered(name: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(EXAMPLE), name], check=True)
    result = s2s("turn", name, "--json")
    assert "two plus two" in json.loads(result.stdout)["transcript"], result.output


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["question.m4a", "question.webm"])
def test_without_ffmpeg_what_it_would_read_is_refused_with_the_package_to_install(name: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(EXAMPLE), name], check=True)
    result = s2s("turn", name, PATH="/nonexistent")
    assert result.exit_code == 4
    assert "apt install ffmpeg" in result.stderr


def test_a_damaged_mp3_is_answered_with_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(EXAMPLE.read_bytes())
    del data[len(data) * 3 // 4 :]
    Path("cut.mp3").write_bytes(data)
    run = subprocess.run([*S2S, "turn", "cut.mp3"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "WARNING" in run.stderr


def refused(result: Result, exit_code: int, saying: str) -> None:
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("s2s: ")
    assert saying in line
    assert "Traceback" not in result.output


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
    (tmp_path / "mute.py").write_text(
        "from shared.engines import EngineSpec, TTSModel, register_model\n"
        "@register_model('tts', 'mute', EngineSpec(summary='Cannot be loaded.', licence='MIT'))\n"
        "class Mute(TTSModel):\n"
        "    model_name, sample_rate_hz = 'Mute', 16_000\n"
        "    def load(self): raise OSError('no voice in this file')\n"
        "    def synthesize(self, text, cancelled, **options): raise AssertionError\n"
    )
    code = f"import services.tts; services.tts.__path__.append({str(tmp_path)!r}); {S2S[2]}"
    run = subprocess.run(
        [sys.executable, "-c", code, "turn", EXAMPLE],
        env={**os.environ, "TTS_MODEL": "mute"},
        capture_output=True,
        text=True,
        check=False,
    )
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


NOISE = np.random.default_rng(1).uniform(-0.3, 0.3, 32_000)


@pytest.mark.parametrize("samples", [np.zeros(32_000), NOISE], ids=["silence", "white noise"])
def test_what_is_no_speech_is_answered_as_such_and_never_as_words(samples: Any) -> None:
    Path("input.wav").write_bytes(wav(samples))
    result = s2s("turn", "input.wav", "--json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert (told["outcome"], told["transcript"], told["reply"], told["audio"]) == ("no_speech", "", "", None)


def test_office_noise_is_no_speech(recordings: Path) -> None:
    samples, sample_rate_hz = soundfile.read(recordings / "office-ambience.mp3", frames=20 * 24_000)
    Path("input.wav").write_bytes(wav(samples, sample_rate_hz))
    assert s2s("turn", "input.wav").exit_code == 3


def test_human_speech_is_recognised_and_answered(recordings: Path) -> None:
    told = json.loads(s2s("turn", recordings / "jfk.flac", "--json").stdout)
    assert "my fellow america" in told["transcript"]
    assert "what your country can do for you" in told["transcript"]
    assert told["audio"]["duration_s"] > 1


def test_a_short_casual_question_is_recognised_and_answered(recordings: Path) -> None:
    told = json.loads(s2s("turn", recordings / "bear-or-shark.mp3", "--json").stdout)
    assert "shark" in told["transcript"]
    assert told["audio"]["duration_s"] > 1


def test_models_lists_every_engine_and_where_it_is_selected() -> None:
    rows = json.loads(s2s("models", "--json", TTS_MODEL="espeak").stdout)
    assert {(row["stage"], row["name"]) for row in rows if row["selected"]} == {
        ("asr", "pocketsphinx"),
        ("llm", "rules"),
        ("tts", "espeak"),
    }
    assert {row["name"] for row in rows if row["selected_on_modal"]} == {"nemo", "phi3", "espeak"}
    assert {row["name"] for row in rows} >= {"flite", "espeak", "pocketsphinx", "rules"}


def test_models_tells_scripts_all_that_an_engine_says_of_itself() -> None:
    rows = {row["name"]: row for row in json.loads(s2s("models", "--json").stdout)}
    assert set(rows["llama"]) >= {field.name for field in fields(EngineSpec)} - {"modules"}
    assert rows["llama"]["weights"]["token"] == "HF_TOKEN"
    assert len(rows["llama"]["weights"]["revision"]) == 40
    assert rows["gpt4omini"]["secrets"] == ["OPENAI_API_KEY"]


def test_models_shows_what_one_chooses_by_in_a_table_of_100_columns() -> None:
    lines = s2s("models", COLUMNS="100").stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 100
    table = " ".join(" ".join(lines).split())
    for told in (
        *("Modal LLM phi3", "A10G, 16 calls at once", "GPU snapshot", "@f39ac1d", "4,096 tokens"),
        *("vllm==0.32.0", "A10G or CPU", "nemo_toolkit[asr]==3.0.0", "24 kHz", "Secret: HF_TOKEN", "GPL-3.0"),
    ):
        assert told in table, told


def test_the_version_is_told() -> None:
    assert s2s("--version").stdout.startswith("speech-to-speech 0.")


@pytest.mark.parametrize("arguments", [["--help"], ["turn", "--help"], ["models", "-h"], []])
def test_help_tells_a_newcomer_what_to_do(arguments: list[str]) -> None:
    assert "Usage" in s2s(*arguments).output


def test_help_loads_neither_numpy_nor_engines_and_file_mode_no_sound_device() -> None:
    help_code = "import sys, client.cli; print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    file_code = (
        "import sys, client.commands.turn; print('sounddevice' in sys.modules, 'modal' in sys.modules)"
    )
    for code in (help_code, file_code):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.split() == ["False", "False"]


def test_ctrl_c_ends_it_at_once_and_leaves_no_process() -> None:
    Path("long.wav").write_bytes(wav(np.tile(example(), 30)))
    running = subprocess.Popen(
        [*S2S, "turn", "long.wav"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(psutil.Process(running.pid).children(recursive=True)) == 0:
        time.sleep(0.01)
    time.sleep(1.5)
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 130, said
    assert said.strip().splitlines() == ["s2s: Interrupted."]
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert not Path("output.mp3").exists()
