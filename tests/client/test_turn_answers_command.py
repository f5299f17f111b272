"""`s2s turn` over recordings of many kinds: what is answered, and what is no speech."""

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from shared.audio.decode import decode_audio
from shared.audio.pcm import resample
from shared.settings import Settings
from tests.conftest import SYSTEM_NEEDS
from tests.support.paths import EXAMPLES
from tests.support.s2s_command import S2S, s2s

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own", "engines_stay_loaded")


EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"


def wav(samples: Any, sample_rate_hz: int = 16_000, subtype: str = "PCM_16", **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, subtype=subtype, format=kwargs.get("format", "WAV"))
    return buffer.getvalue()


def example(sample_rate_hz: int = 16_000) -> Any:
    return resample(decode_audio(EXAMPLE.read_bytes(), Settings()), sample_rate_hz).samples


def test_a_question_is_answered() -> None:
    result = s2s("turn", EXAMPLE)
    assert result.exit_code == 0, result.output
    assert "2 plus 2" in result.stdout
    assert "four" in result.stdout.lower()
    assert "first audio after" in result.stdout
    assert result.stdout.count("table of rules") == 1
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
    assert "2 plus 2" in told["transcript"]
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
    assert "is 4" in transcript


def test_the_reply_is_in_the_selected_voice() -> None:
    for name, sample_rate_hz in (("espeak", 22_050), ("flite", 16_000)):
        if name == "espeak" or SYSTEM_NEEDS["flite"][0]:
            s2s("turn", EXAMPLE, "-o", "reply.wav", TTS_MODEL=name)
            assert soundfile.info("reply.wav").samplerate == sample_rate_hz


def test_a_recording_can_come_through_standard_input() -> None:
    result = s2s("turn", "-", "--json", stdin=EXAMPLE.read_bytes())
    assert "2 plus 2" in json.loads(result.stdout)["transcript"]


@pytest.mark.parametrize("claimed", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_streamed_wav_whose_header_gives_no_length_works_too(claimed: int) -> None:
    data = bytearray(wav(example()))
    data[4:8] = claimed.to_bytes(4, "little")
    data[40:44] = claimed.to_bytes(4, "little")
    result = s2s("turn", "-", "--json", stdin=bytes(data))
    assert "2 plus 2" in json.loads(result.stdout)["transcript"], result.output


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        ("8-bit.wav", lambda: wav(example(), subtype="PCM_U8")),
        ("float.wav", lambda: wav(example(), subtype="FLOAT")),
        ("stereo.wav", lambda: wav(np.stack([example(), example()], axis=1))),
        ("8000.wav", lambda: wav(example(8_000), 8_000)),
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
    assert "2 plus 2" in json.loads(result.stdout)["transcript"], result.output


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
    quick = os.environ | {"ASR_MODEL": "pocketsphinx", "TTS_MODEL": "espeak"}
    run = subprocess.run([*S2S, "turn", "cut.mp3"], env=quick, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "WARNING" in run.stderr


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
    assert "my fellow Americans" in told["transcript"]
    assert "what your country can do for you" in told["transcript"]
    assert told["audio"]["duration_s"] > 1


def test_a_short_casual_question_is_recognised_and_answered(recordings: Path) -> None:
    told = json.loads(s2s("turn", recordings / "bear-or-shark.mp3", "--json").stdout)
    assert "shark" in told["transcript"]
    assert told["audio"]["duration_s"] > 1
