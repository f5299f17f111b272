"""The command s2s, as a person or a script uses it."""

import io
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import typer

from client.cli import app
from client.errors import ExitCode
from shared.audio.decode import decode_audio
from shared.audio.pcm import resample
from shared.engines import EngineSpec
from shared.settings import Settings
from tests.conftest import SYSTEM_NEEDS
from tests.support.paths import EXAMPLES
from tests.support.s2s_command import S2S, refused, s2s
from tests.support.waiting import until

EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"


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


@pytest.mark.needs("flite")
def test_the_reply_audio_says_what_the_reply_text_says() -> None:
    """The whole circle: the spoken reply, asked as a question, is transcribed again."""
    s2s("turn", EXAMPLE, "-o", "reply.wav", TTS_MODEL="flite")
    transcript = json.loads(s2s("turn", "reply.wav", "--json").stdout)["transcript"]
    assert "four" in transcript


def test_the_reply_is_in_the_selected_voice() -> None:
    for name, sample_rate_hz in (("espeak", 22_050), ("flite", 16_000)):
        if name == "espeak" or SYSTEM_NEEDS["flite"][0]:
            s2s("turn", EXAMPLE, "-o", "reply.wav", TTS_MODEL=name)
            assert soundfile.info("reply.wav").samplerate == sample_rate_hz


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
    assert set(rows["llama"]) >= {field.name for field in fields(EngineSpec)} - {"modules", "lock"}
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


COMMANDS = {
    "Talk": ["turn", "talk", "report", "devices"],
    "Deploy": ["models", "settings", "fetch-weights", "deploy", "smoke"],
    "Operate": ["status", "warm", "logs", "stop", "local-cloud"],
}


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_every_command_in_its_group(arguments: list[str]) -> None:
    shown = s2s(*arguments).output
    for group, commands in COMMANDS.items():
        (panel,) = re.findall(rf"─ {group} ─.*?╰", shown, re.DOTALL)
        assert re.findall(r"^│ ([a-z-]+) ", panel, re.MULTILINE) == commands
    assert len(typer.main.get_command(app).commands) == sum(map(len, COMMANDS.values()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [[], *([one] for group in COMMANDS.values() for one in group)])
def test_help_is_readable_on_80_columns(command: list[str]) -> None:
    shown = s2s(*command, "--help", COLUMNS="80", TERMINAL_WIDTH="80").output
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown  # nothing is cut
    assert re.search(r"^ {0,2}Usage: ", shown, re.MULTILINE)


def test_an_output_that_nobody_reads_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for command in (["models"], ["models", "--json"], ["turn", EXAMPLE]):
        run = subprocess.run([*S2S, *command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        assert (run.returncode, run.stderr) == (ExitCode.OUTPUT_NOT_WRITTEN, "")
    os.close(writer)


def test_a_closed_standard_input_is_refused() -> None:
    command = shlex.join([*S2S, "turn", "-"]) + " <&-"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert run.returncode == ExitCode.BAD_INPUT
    assert run.stderr.startswith("s2s: Standard input is")


def test_a_name_with_control_characters_cannot_move_the_cursor() -> None:
    result = s2s("turn", "\x1b[2Jquestion.wav")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stderr == "s2s: There is no file [2Jquestion.wav.\n"


@pytest.mark.parametrize("command", [["models"], ["settings"], ["report", "nowhere"], ["fetch-weights"]])
def test_every_command_logs_at_the_level_that_is_set(command: list[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        s2s(*command, S2S_LOG_LEVEL="DEBUG")
        assert root.level == logging.DEBUG
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.mark.parametrize("command", [["smoke"], ["status"], ["warm"]])
def test_without_the_library_modal_scripts_get_the_error_as_json(command: list[str]) -> None:
    code = f"import sys; sys.modules['modal'] = None; {S2S[2]}"
    run = subprocess.run(
        [sys.executable, "-c", code, *command, "--json"], capture_output=True, text=True, check=False
    )
    assert run.returncode == ExitCode.MISCONFIGURED
    assert json.loads(run.stdout)["error"]["kind"] == "misconfigured"
    assert "needs the library modal" in run.stderr


def test_the_shell_completes_commands_and_apps() -> None:
    for words, completions in (("s2s st", ["status", "stop"]), ("s2s logs mo", ["monolith"])):
        position = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        run = subprocess.run(
            S2S,
            env={**os.environ, "_S2S_COMPLETE": "complete_bash", **position},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout.split() == completions, run.stderr


def test_help_loads_neither_numpy_nor_engines_and_file_mode_no_sound_device() -> None:
    help_code = "import sys, client.cli; print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    file_code = (
        "import sys, client.commands.turn; print('sounddevice' in sys.modules, 'modal' in sys.modules)"
    )
    for code in (help_code, file_code):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.split() == ["False", "False"]


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
        env={**os.environ, "ASR_MODEL": "watched"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(Path("transcribing").exists)
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=20)
    assert running.returncode == ExitCode.INTERRUPTED, stderr
    assert stderr.splitlines() == ["s2s: Interrupted."]
    _, alive = psutil.wait_procs(children, timeout=5)
    assert (bool(children), alive) == (True, [])
    assert not Path("transcribed").exists()
    assert not Path("output.mp3").exists()
