import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from shared.audio.decode import decode_audio
from shared.audio.ffmpeg import MAX_AT_ONCE
from shared.errors import BadAudio, Overloaded, TooLong
from shared.settings import Settings
from tests.support.processes import is_running
from tests.support.sounds import ffmpeg_file, ffmpeg_stream, refused, sound_file, strength, tone
from tests.support.waiting import GIVE_UP_S, until

pytestmark = pytest.mark.slow

SETTINGS = Settings()
FakeFfmpeg = Callable[[str], None]

FOREIGN = {
    "m4a": (),
    "m4a, index first": ("-movflags", "+faststart"),
    "m4a, lossless": ("-c:a", "alac"),
    "aac": (),
    "webm": (),
    "webm, Vorbis": ("-c:a", "libvorbis"),
    "mkv": ("-c:a", "pcm_s24le"),
    "wma": (),
    "mov": ("-c:a", "pcm_s16le"),
}


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_libsndfile_cannot_read_is_decoded_by_ffmpeg(kind: str, tmp_path: Path) -> None:
    wav = sound_file(np.stack([tone(440, 2.0, 48_000)] * 2, axis=1), 48_000)
    data = ffmpeg_file(wav, tmp_path / f"x.{kind[:4].strip(', ')}", *FOREIGN[kind])
    decoded = decode_audio(data, SETTINGS)
    assert decoded.sample_rate_hz == 48_000
    assert decoded.duration_s == pytest.approx(2.0, abs=0.1)
    assert strength(decoded.samples, 440, 48_000) == pytest.approx(0.5, abs=0.05)


@pytest.mark.needs("ffmpeg")
def test_webm_as_a_browser_streams_it_is_decoded() -> None:
    webm = ffmpeg_stream(sound_file(tone(440, 2.0)), "-f", "webm")
    assert decode_audio(webm, SETTINGS).duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.needs("ffmpeg")
def test_without_files_in_memory_ffmpeg_reads_from_one_without_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    webm = ffmpeg_stream(sound_file(tone(440, 2.0)), "-f", "webm")
    assert decode_audio(webm, SETTINGS).duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.needs("ffmpeg")
def test_half_an_hour_of_m4a_is_too_long(tmp_path: Path) -> None:
    wav = sound_file(np.zeros(1_800 * 8_000, np.float32), 8_000)
    m4a = ffmpeg_file(wav, tmp_path / "x.m4a")
    with pytest.raises(TooLong, match="longer than 120 s"):
        decode_audio(m4a, SETTINGS)


@pytest.mark.needs("ffmpeg")
def test_aac_whose_length_is_but_guessed_from_its_quiet_beginning_is_decoded() -> None:
    """ffprobe takes it for 3,000 s."""
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, 60 * 16_000).astype(np.float32)
    aac = ffmpeg_stream(sound_file(np.concatenate([np.zeros(30 * 16_000, np.float32), noise])), "-f", "adts")
    assert decode_audio(aac, SETTINGS).duration_s == pytest.approx(90.0, abs=0.2)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("kind", ["matroska", "webm"])
def test_a_stream_that_does_not_say_how_long_it_is_is_too_long_all_the_same(kind: str) -> None:
    stream = ffmpeg_stream(sound_file(np.zeros(200 * 8_000, np.float32), 8_000), "-f", kind)
    with pytest.raises(TooLong, match="longer than 120 s"):
        decode_audio(stream, SETTINGS)


@pytest.mark.needs("ffmpeg")
def test_a_small_file_of_many_silent_channels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """35 s of 32 channels are 108 MB; one of them, a few of each and a short one are nothing."""

    def silence(duration_s: int, *options: str) -> bytes:
        mono = sound_file(np.zeros(duration_s * 48_000, np.float32), 48_000)
        return ffmpeg_stream(mono, *options, "-f", "matroska")

    assert decode_audio(silence(10, "-ac", "8", "-c:a", "flac"), SETTINGS).duration_s == 10
    many = silence(35, "-filter:a", "aeval=" + "|".join(["0"] * 32), "-c:a", "wavpack")
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\ntouch {tmp_path}/decoded\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "too many channels for its length" in refused(many)
    assert not (tmp_path / "decoded").exists()


def opened_fifo(path: Path) -> int:
    """What is in it is read without waiting; who else reads it waits for as long as it is open."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def test_only_a_few_are_decoded_at_once_and_who_waits_too_long_may_try_again(
    fake_ffmpeg: FakeFfmpeg, tmp_path: Path
) -> None:
    begun, held = opened_fifo(tmp_path / "begun"), opened_fifo(tmp_path / "held")
    fake_ffmpeg(f"echo > {tmp_path}/begun; exec cat {tmp_path}/held")

    def decode(settings: Settings) -> str:
        try:
            decode_audio(SIGNATURES["M4A"] + bytes(1_000), settings)
        except (BadAudio, Overloaded) as error:
            return error.kind
        return "decoded"

    with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
        others = [pool.submit(decode, Settings(ffmpeg_timeout_s=GIVE_UP_S)) for _ in range(MAX_AT_ONCE)]
        read_all(begun, MAX_AT_ONCE)
        assert decode(Settings(ffmpeg_timeout_s=0.1)) == "overloaded"
        os.close(held)
        assert [other.result() for other in others] == ["bad_audio"] * MAX_AT_ONCE  # it gave nothing
    os.close(begun)


def read_all(pipe: int, lines: int) -> str:
    """Wait for so many lines."""
    text = ""

    def is_all() -> bool:
        nonlocal text
        with suppress(BlockingIOError):
            text += os.read(pipe, 1_000).decode()
        return text.count("\n") == lines

    until(is_all)
    return text


@pytest.mark.needs("ffmpeg")
def test_a_foreign_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    aac = ffmpeg_file(sound_file(tone(440, 0.02)), tmp_path / "x.aac")
    assert "at least 1 s" in refused(aac, Settings(min_audio_s=1.0))


def test_pydub_which_warns_when_it_is_imported_stays_in_its_own_process() -> None:
    script = "import shared.audio.decode, sys; sys.exit('pydub' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", script], check=False).returncode == 0


SIGNATURES = {
    "M4A": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "WebM": b"\x1a\x45\xdf\xa3",
    "WMA": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    "AAC": b"\xff\xf1",
}


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(
    ("name", "rest"),
    [
        *((name, np.random.default_rng(0).bytes(5_000)) for name in SIGNATURES),
        *(("WebM", rest) for rest in (bytes(5_000), b"\n#EXTM3U\nx.m3u8\n")),
    ],
)
def test_what_only_begins_like_a_foreign_file_is_refused(name: str, rest: bytes) -> None:
    refused(SIGNATURES[name] + rest)


@pytest.mark.needs("ffmpeg")
def test_a_video_without_sound_is_refused() -> None:
    picture = ("-f", "lavfi", "-i", "color=size=16x16:duration=1", "-map", "1:v", "-f", "matroska")
    assert "no sound in it" in refused(ffmpeg_stream(sound_file(tone(440, 1.0)), *picture))


@pytest.mark.parametrize("name", SIGNATURES)
def test_without_ffmpeg_a_foreign_file_is_refused_with_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(SIGNATURES[name] + bytes(1_000))
    assert name in message
    assert "ffmpeg" in message
    assert "apt install ffmpeg" in message


STEREO = '{"streams": [{"channels": 2, "sample_rate": "48000"}], "format": {}}'


@pytest.fixture
def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a program of that text first on the path, as ffmpeg, and an ffprobe that finds stereo."""

    def install(script: str) -> None:
        for name, text in (("ffmpeg", script), ("ffprobe", f"echo '{STEREO}'")):
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def test_an_ffmpeg_that_takes_too_long_is_killed_with_all_it_started(
    fake_ffmpeg: FakeFfmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids_pipe, pids = opened_fifo(tmp_path / "pids"), list[int]()  # it cannot write files
    fake_ffmpeg(f"sleep 1000 & echo $$ $! > {tmp_path}/pids; wait")
    communicate = subprocess.Popen.communicate

    def once_it_runs(process: subprocess.Popen[bytes], timeout: float) -> tuple[bytes, bytes]:
        pids.extend(map(int, read_all(pids_pipe, 1).split()))
        return communicate(process, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_runs)
    assert "within 0.5 s" in refused(SIGNATURES["M4A"] + bytes(1_000), Settings(ffmpeg_timeout_s=0.5))
    os.close(pids_pipe)
    assert len(pids) == 2
    until(lambda: not any(map(is_running, pids)))
    assert not {child.pid for child in psutil.Process().children(recursive=True)} & set(pids)


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "exit 0", "echo no wav"])
def test_an_ffmpeg_that_fails_is_a_refusal(script: str, fake_ffmpeg: FakeFfmpeg) -> None:
    fake_ffmpeg(script)
    assert "damaged" in refused(SIGNATURES["WebM"] + bytes(1_000))


def test_nothing_is_written_to_disk_for_ffmpeg_or_by_it(fake_ffmpeg: FakeFfmpeg, tmp_path: Path) -> None:
    fake_ffmpeg(f"head -c 1000 > {tmp_path}/copy; ls /tmp > {tmp_path}/listing")
    refused(SIGNATURES["WebM"] + bytes(1_000))
    written = [file.stat().st_size for file in tmp_path.iterdir() if not file.name.startswith("ff")]
    assert written in ([], [0], [0, 0])
