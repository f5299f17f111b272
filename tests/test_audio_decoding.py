import io
import logging
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audio import decode_audio, encode_mp3
from shared.errors import BadAudio, TooLong
from shared.pcm import Pcm
from shared.settings import Settings
from tests.sounds import Samples, ffmpeg_file, ffmpeg_stream, likeness, sound_file, strength, tone, voice

SETTINGS = Settings()
SECOND = voice(16_000, 16_000).samples


def refused(data: bytes, settings: Settings = SETTINGS) -> str:
    """The message with which the bytes are refused."""
    with pytest.raises(BadAudio) as caught:
        decode_audio(data, settings)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert "Error" not in message
    assert "object at" not in message
    return message


# What is read


@pytest.mark.parametrize(
    ("kind", "subtype", "alike"),
    [
        ("WAV", "PCM_U8", 0.99),
        ("WAV", "PCM_16", 0.99999),
        ("WAV", "PCM_24", 0.99999),
        ("WAV", "PCM_32", 0.99999),
        ("WAV", "FLOAT", 0.99999),
        ("WAV", "DOUBLE", 0.99999),
        ("WAV", "ULAW", 0.99),
        ("WAV", "ALAW", 0.99),
        ("WAV", "IMA_ADPCM", 0.99),
        ("WAVEX", "PCM_16", 0.99999),
        ("RF64", "PCM_16", 0.99999),
        ("FLAC", "PCM_24", 0.99999),
        ("OGG", "VORBIS", 0.98),
        ("OGG", "OPUS", 0.98),
        ("AIFF", "PCM_16", 0.99999),
        ("CAF", "PCM_16", 0.99999),
        ("AU", "PCM_16", 0.99999),
    ],
)
def test_a_sound_file_is_decoded_whole_and_alike(kind: str, subtype: str, alike: float) -> None:
    decoded = decode_audio(sound_file(SECOND, kind=kind, subtype=subtype), SETTINGS)
    assert decoded.sample_rate_hz == 16_000
    assert decoded.num_samples == pytest.approx(16_000, abs=600 if subtype == "IMA_ADPCM" else 0)
    assert likeness(decoded.samples[:16_000], SECOND) > alike
    assert np.abs(decoded.samples).max() == pytest.approx(np.abs(SECOND).max(), rel=0.1)


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 44_100, 96_000, 192_000])
def test_the_file_keeps_its_own_sample_rate(rate_hz: int) -> None:
    decoded = decode_audio(sound_file(tone(440, 0.5, rate_hz), rate_hz), SETTINGS)
    assert (decoded.sample_rate_hz, decoded.duration_s) == (rate_hz, 0.5)


@pytest.mark.parametrize("num_channels", [2, 6, 32])
def test_channels_are_averaged(num_channels: int) -> None:
    channels = np.zeros((8_000, num_channels), np.float32)
    channels[:, 0], channels[:, -1] = tone(300, 0.5), tone(900, 0.5)
    decoded = decode_audio(sound_file(channels, subtype="FLOAT"), SETTINGS)
    assert np.allclose(decoded.samples, (tone(300, 0.5) + tone(900, 0.5)) / num_channels, atol=1e-6)


def test_float_samples_beyond_1_are_clipped() -> None:
    loud = 4 * tone(440, 0.5)
    decoded = decode_audio(sound_file(loud, subtype="FLOAT"), SETTINGS)
    assert np.array_equal(decoded.samples, np.clip(loud, -1, 1))


def test_audio_of_several_blocks_is_read_without_a_seam() -> None:
    long = voice(200_000, 48_000)
    for kind in ("WAV", "FLAC"):
        decoded = decode_audio(sound_file(long.samples, 48_000, kind), SETTINGS)
        assert np.abs(decoded.samples - long.samples).max() < 1e-4


# WAV from a pipe


def streamed_wav(data_size: int, riff_size: int, other_chunks: bytes = b"") -> bytes:
    wav = sound_file(SECOND)
    header = wav[:4] + struct.pack("<I", riff_size) + wav[8:36] + other_chunks
    return header + b"data" + struct.pack("<I", data_size) + wav[44:]


@pytest.mark.parametrize("riff_size", [0, 36, 32_036, 0x7FFF_FFFF, 0xFFFF_FFFF])
@pytest.mark.parametrize("data_size", [0, 0x7FFF_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFDB, 0xFFFF_FFFF])
def test_a_wav_whose_header_gives_no_length_is_read_to_its_end(data_size: int, riff_size: int) -> None:
    decoded = decode_audio(streamed_wav(data_size, riff_size), SETTINGS)
    assert np.abs(decoded.samples - SECOND).max() < 1e-4


def test_chunks_before_the_samples_of_a_streamed_wav_are_passed_over() -> None:
    odd = b"LIST\x05\0\0\0abcde\0"
    decoded = decode_audio(streamed_wav(0, 0, other_chunks=odd), SETTINGS)
    assert np.abs(decoded.samples - SECOND).max() < 1e-4


def test_streamed_silence_is_silence() -> None:
    wav = bytearray(sound_file(np.zeros(16_000, np.float32)))
    wav[40:44] = bytes(4)
    assert decode_audio(bytes(wav), SETTINGS).num_samples == 16_000


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_what_ffmpeg_writes_to_a_pipe_is_read(kind: str) -> None:
    decoded = decode_audio(ffmpeg_stream(sound_file(SECOND), "-f", kind), SETTINGS)
    assert decoded.duration_s == pytest.approx(1.0, abs=0.1)


def test_a_flac_whose_header_gives_no_length_is_read_to_its_end() -> None:
    assert decode_audio(flac_claiming(0), SETTINGS).num_samples == 16_000


def flac_claiming(num_samples: int) -> bytes:
    flac = bytearray(sound_file(SECOND, kind="FLAC"))
    flac[21:26] = (int.from_bytes(flac[21:26]) >> 36 << 36 | num_samples).to_bytes(5)  # in STREAMINFO
    return bytes(flac)


# What is refused


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0", id="one byte"),
        pytest.param(bytes(100_000), id="zeros"),
        pytest.param(np.random.default_rng(0).bytes(1_000_000), id="random bytes"),
        pytest.param(b"\xff\xfb\x90\x00" * 100_000, id="MP3 headers without frames"),
        pytest.param(b"<!DOCTYPE html><html><body>404 Not Found</body></html>", id="HTML"),
        pytest.param(b"Ceci n'est pas un son. " * 1_000, id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(5_000), id="PNG"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", id="concat script"),
        pytest.param(b"ID3\x04\0\0\0\0\0\x0a", id="nothing but a tag"),
    ],
)
def test_what_is_no_audio_is_refused(data: bytes) -> None:
    message = refused(data)
    assert "empty" in message if not data else "send WAV" in message


@pytest.mark.parametrize(
    "start",
    [
        b"RIFF\0\0\0\0WAVE",
        b"fLaC",
        b"OggS",
        b"FORM\0\0\0\0AIFF",
        b"caff",
        b".snd",
        b"RF64\xff\xff\xff\xffWAVE",
    ],
)
@pytest.mark.parametrize("rest", [b"", bytes(50_000), np.random.default_rng(0).bytes(50_000)])
def test_what_only_begins_like_a_sound_file_is_refused(start: bytes, rest: bytes) -> None:
    assert "export it again" in refused(start + rest)


def test_a_refusal_leaves_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    refused(sound_file(SECOND, kind="AIFF")[:30])  # libsndfile seeks to before its start
    assert capfd.readouterr().err == ""


def test_a_wav_that_really_holds_no_samples_is_refused() -> None:
    empty = sound_file(np.empty(0, np.float32))
    with_a_tag = empty + b"LIST" + struct.pack("<I", 8_000) + bytes(8_000)
    for data in (empty, with_a_tag):
        assert "lasts 0.000 s" in refused(data)
        refused(data, Settings(min_audio_s=0.0))


def test_less_than_the_shortest_allowed_is_refused() -> None:
    assert decode_audio(sound_file(tone(440, 0.1)), SETTINGS).num_samples == 1_600
    assert "at least 0.1 s" in refused(sound_file(tone(440, 0.1)[:-1]))
    assert "at least 0.5 s" in refused(sound_file(tone(440, 0.4)), Settings(min_audio_s=0.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 8_000, 15_999])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_samples_that_are_no_numbers_are_refused(value: float, at: int, num_channels: int) -> None:
    samples = np.stack([SECOND] * num_channels, axis=1)
    samples[at, -1] = value
    for subtype in ("FLOAT", "DOUBLE"):
        assert "NaN or infinity" in refused(sound_file(samples, subtype=subtype))


@pytest.mark.parametrize("rate_hz", [0, 1, 3_999, 384_001, 2_000_000_000, 0xFFFF_FFFF])
def test_an_absurd_sample_rate_is_refused(rate_hz: int) -> None:
    wav = bytearray(sound_file(SECOND))
    wav[24:28] = struct.pack("<I", rate_hz)
    refused(bytes(wav))


@pytest.mark.parametrize("num_channels", [0, 33, 1_000, 65_535])
def test_an_absurd_number_of_channels_is_refused(num_channels: int) -> None:
    wav = bytearray(sound_file(SECOND))
    wav[22:24] = struct.pack("<H", num_channels)
    refused(bytes(wav))


def rf64_claiming(num_bytes: int) -> bytes:
    wav = bytearray(sound_file(SECOND, kind="RF64"))
    assert wav[12:16] == b"ds64"
    wav[20:44] = struct.pack("<QQQ", num_bytes + 100, num_bytes, num_bytes // 2)
    return bytes(wav)


def aiff_claiming(num_frames: int) -> bytes:
    aiff = bytearray(sound_file(SECOND, kind="AIFF"))
    common = aiff.index(b"COMM")
    aiff[common + 10 : common + 14] = struct.pack(">I", num_frames)
    return bytes(aiff)


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(rf64_claiming(4 * 2**40), id="RF64 of 4 TiB"),
        pytest.param(flac_claiming(2**36 - 1), id="FLAC of 128 GiB"),
        pytest.param(aiff_claiming(2**32 - 1), id="AIFF of 8 GiB"),
        pytest.param(streamed_wav(0xFFFF_FFFE, 0xFFFF_FFFF), id="WAV of 4 GiB"),
    ],
)
def test_of_a_header_that_claims_terabytes_only_what_is_there_is_decoded(forged: bytes) -> None:
    tracemalloc.start()
    decoded = decode_audio(forged, SETTINGS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded.num_samples == 16_000
    assert peak_bytes < 2 * 2**20


# What is too long


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_half_an_hour_is_too_long_and_not_decoded_to_its_end(kind: str) -> None:
    silence = np.zeros(1_800 * 8_000, np.float32)
    data = sound_file(silence, 8_000, kind, {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(kind, "PCM_16"))
    tracemalloc.start()
    with pytest.raises(TooLong, match="longer than 120 s") as caught:
        decode_audio(data, SETTINGS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak_bytes - len(data) < 3 * 120 * 8_000 * 4


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_the_limit_is_exact(kind: str) -> None:
    limit = Settings(max_audio_s=2.0)
    assert decode_audio(sound_file(tone(440, 2.0), kind=kind), limit).duration_s == 2.0
    with pytest.raises(TooLong, match="longer than 2 s"):
        decode_audio(sound_file(tone(440, 2.001), kind=kind), limit)


def test_the_limit_holds_for_mp3_whose_frames_are_longer_than_its_sound() -> None:
    limit = Settings(max_audio_s=2.0)
    assert decode_audio(encode_mp3(voice(32_000, 16_000)).mp3, limit).duration_s == 2.0
    with pytest.raises(TooLong):
        decode_audio(encode_mp3(voice(32_100, 16_000)).mp3, limit)


# What is damaged

LOW_HZ, HIGH_HZ = 400.0, 1_000.0
TWO_TONES = Pcm(np.concatenate([tone(LOW_HZ, 5.0), tone(HIGH_HZ, 5.0)]), 16_000)
MP3 = encode_mp3(TWO_TONES).mp3
MIDDLE = len(MP3) // 2
Damage = Callable[[bytes, int, int], bytes]


def stereo_mp3(samples: Samples, sample_rate_hz: int) -> bytes:
    file = io.BytesIO()
    constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.7}
    stereo = np.stack([samples, samples], axis=1)
    soundfile.write(file, stereo, sample_rate_hz, format="MP3", subtype="MPEG_LAYER_III", **constant)
    return file.getvalue()


DAMAGES: dict[str, Damage] = {
    "zeroed": lambda mp3, at, size: mp3[:at] + bytes(size) + mp3[at + size :],
    "overwritten": lambda mp3, at, size: mp3[:at] + np.random.default_rng(at).bytes(size) + mp3[at + size :],
    "removed": lambda mp3, at, size: mp3[:at] + mp3[at + size :],
    "inserted": lambda mp3, at, size: mp3[:at] + np.random.default_rng(at).bytes(size) + mp3[at:],
}


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG)
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


Warnings = Callable[[], list[str]]


@pytest.mark.parametrize("size", [700, 5_000, 20_000])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize(
    "mp3",
    [
        pytest.param(MP3, id="64 kbps"),
        pytest.param(encode_mp3(TWO_TONES, 24).mp3, id="24 kbps, no Info tag"),
        pytest.param(encode_mp3(Pcm(TWO_TONES.samples, 44_100), 128).mp3, id="MPEG-1"),
        pytest.param(stereo_mp3(TWO_TONES.samples, 44_100), id="stereo"),
    ],
)
def test_of_an_mp3_damaged_in_the_middle_both_sides_are_decoded(
    mp3: bytes, damage: Damage, size: int, warnings: Warnings
) -> None:
    decoded = decode_audio(damage(mp3, len(mp3) // 2 - size // 2, size), SETTINGS)
    scale = decoded.sample_rate_hz / 16_000
    sixth = decoded.num_samples // 6
    first, last = decoded.samples[:sixth], decoded.samples[-sixth:]
    assert strength(first, LOW_HZ * scale, decoded.sample_rate_hz) > 0.4
    assert strength(last, HIGH_HZ * scale, decoded.sample_rate_hz) > 0.4
    assert np.abs(decoded.samples).max() < 0.7  # no burst of noise at the seam
    [warning] = warnings()
    assert warning.startswith("WARNING The MP3 is damaged or cut short: about")


def test_what_is_lost_of_a_damaged_mp3_is_said(warnings: Warnings) -> None:
    decoded = decode_audio(MP3[:MIDDLE] + bytes(16_000) + MP3[MIDDLE + 16_000 :], SETTINGS)
    assert decoded.duration_s == pytest.approx(8.0, abs=0.2)
    assert warnings() == [
        "WARNING The MP3 is damaged or cut short: about 2.1 s of it are lost, 8.0 s are used."
    ]


def test_an_mp3_that_is_cut_short_is_decoded_as_far_as_it_goes(warnings: Warnings) -> None:
    decoded = decode_audio(MP3[:MIDDLE], SETTINGS)
    assert decoded.duration_s == pytest.approx(5.0, abs=0.2)
    assert strength(decoded.samples, LOW_HZ, 16_000) > 0.4
    [warning] = warnings()
    assert "about 5.1 s of it are lost" in warning


def test_an_mp3_whose_beginning_is_overwritten_is_decoded_from_where_it_is_sound() -> None:
    decoded = decode_audio(bytes(MIDDLE) + MP3[MIDDLE:], SETTINGS)
    assert decoded.duration_s == pytest.approx(5.0, abs=0.2)
    assert strength(decoded.samples, HIGH_HZ, 16_000) > 0.4


def test_an_mp3_damaged_in_many_places_is_still_decoded(warnings: Warnings) -> None:
    mp3 = MP3
    for at in range(4_000, len(MP3) - 4_000, 8_000):
        mp3 = DAMAGES["overwritten"](mp3, at, 1_000)
    assert decode_audio(mp3, SETTINGS).duration_s > 7.0
    assert len(warnings()) == 1


def test_a_damaged_mp3_of_variable_bitrate_is_decoded_on_both_sides(warnings: Warnings) -> None:
    mp3 = sound_file(TWO_TONES.samples, kind="MP3", subtype="MPEG_LAYER_III")  # most frames of 36 bytes
    assert len(mp3) < 20_000
    decoded = decode_audio(DAMAGES["zeroed"](mp3, len(mp3) // 2, 1_000), SETTINGS)
    assert decoded.duration_s > 9.0
    assert strength(decoded.samples[:32_000], LOW_HZ, 16_000) > 0.4
    assert strength(decoded.samples[-32_000:], HIGH_HZ, 16_000) > 0.4
    assert len(warnings()) == 1


def test_tags_around_an_mp3_are_no_damage(warnings: Warnings) -> None:
    picture = np.random.default_rng(0).bytes(300_000)
    size = bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tagged = b"ID3\x03\0\0" + size + picture + MP3 + b"TAG" + bytes(125)
    assert decode_audio(tagged, SETTINGS).num_samples == TWO_TONES.num_samples
    assert not warnings()


def test_all_of_several_mp3s_in_one_file_is_decoded(warnings: Warnings) -> None:
    assert decode_audio(MP3 * 3, SETTINGS).duration_s == pytest.approx(30.0, abs=0.5)
    assert not warnings()


def test_a_damaged_flac_is_decoded_up_to_the_damage(warnings: Warnings) -> None:
    flac = sound_file(np.random.default_rng(0).uniform(-0.5, 0.5, 64_000).astype(np.float32), kind="FLAC")
    decoded = decode_audio(flac[: len(flac) // 2], SETTINGS)
    assert 1.0 < decoded.duration_s < 2.0
    [warning] = warnings()
    assert warning == f"WARNING The audio is damaged after {decoded.duration_s:.1f} s: what follows is lost."


# What ffmpeg reads

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
def test_without_files_in_memory_ffmpeg_reads_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_foreign_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    aac = ffmpeg_file(sound_file(tone(440, 0.02)), tmp_path / "x.aac")
    assert "at least 1 s" in refused(aac, Settings(min_audio_s=1.0))


def test_pydub_which_warns_when_it_is_imported_stays_in_its_own_process() -> None:
    script = "import shared.audio, sys; sys.exit('pydub' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", script], check=False).returncode == 0


SIGNATURES = {
    "M4A": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "WebM": b"\x1a\x45\xdf\xa3",
    "WMA": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    "AAC": b"\xff\xf1",
}


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize(
    "rest", [bytes(5_000), np.random.default_rng(0).bytes(5_000), b"\n#EXTM3U\nx.m3u8\n"]
)
def test_what_only_begins_like_a_foreign_file_is_refused(name: str, rest: bytes) -> None:
    refused(SIGNATURES[name] + rest)


@pytest.mark.needs("ffmpeg")
def test_a_video_without_sound_is_refused() -> None:
    picture = ("-f", "lavfi", "-i", "color=size=16x16:duration=1", "-map", "1:v", "-f", "matroska")
    assert "no sound in it" in refused(ffmpeg_stream(sound_file(SECOND), *picture))


@pytest.mark.parametrize("name", SIGNATURES)
def test_without_ffmpeg_a_foreign_file_is_refused_with_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(SIGNATURES[name] + bytes(1_000))
    assert name in message
    assert "ffmpeg" in message
    assert "apt install ffmpeg" in message


@pytest.fixture
def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a program of that text first on the path, as ffmpeg."""

    def install(script: str) -> None:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


FakeFfmpeg = Callable[[str], None]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_ffmpeg_that_takes_too_long_is_killed_with_all_it_started(
    fake_ffmpeg: FakeFfmpeg, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pids")  # it cannot write files
    pids_pipe = os.open(tmp_path / "pids", os.O_RDWR)
    fake_ffmpeg(f"sleep 1000 & echo $$ $! > {tmp_path}/pids; wait")
    assert "within 2 s" in refused(SIGNATURES["M4A"] + bytes(1_000), Settings(ffmpeg_timeout_s=2.0))
    pids = [int(pid) for pid in os.read(pids_pipe, 100).split()]
    os.close(pids_pipe)
    assert len(pids) == 2
    for _ in range(1_000):  # killed, and perhaps not yet gone
        if any(map(is_running, pids)):
            time.sleep(0.01)
    assert not any(map(is_running, pids))
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "exit 0", "echo no wav"])
def test_an_ffmpeg_that_fails_is_a_refusal(script: str, fake_ffmpeg: FakeFfmpeg) -> None:
    fake_ffmpeg(script)
    assert "damaged" in refused(SIGNATURES["WebM"] + bytes(1_000))


def test_nothing_is_written_to_disk_for_ffmpeg_or_by_it(fake_ffmpeg: FakeFfmpeg, tmp_path: Path) -> None:
    fake_ffmpeg(f"head -c 1000 > {tmp_path}/copy; ls /tmp > {tmp_path}/listing")
    refused(SIGNATURES["WebM"] + bytes(1_000))
    assert [file.stat().st_size for file in tmp_path.iterdir() if file.name != "ffmpeg"] in ([], [0], [0, 0])


# Anything at all


def _decoded_or_refused(data: bytes) -> None:
    try:
        pcm = decode_audio(data, SETTINGS)
    except (BadAudio, TooLong):
        return
    assert Pcm(pcm.samples, pcm.sample_rate_hz).duration_s >= 0.1


SEEDS = {
    "WAV": sound_file(SECOND),
    "float WAV": sound_file(np.stack([SECOND] * 2, axis=1), subtype="FLOAT"),
    "µ-law": sound_file(SECOND, subtype="ULAW"),
    "FLAC": sound_file(SECOND, kind="FLAC"),
    "Vorbis": sound_file(SECOND, kind="OGG", subtype="VORBIS"),
    "Opus": sound_file(SECOND, kind="OGG", subtype="OPUS"),
    "AIFF": sound_file(SECOND, kind="AIFF"),
    "CAF": sound_file(SECOND, kind="CAF"),
    "MP3": encode_mp3(voice(16_000, 16_000)).mp3,
}


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=60)
@given(st.data())
def test_mutated_audio_is_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    mutated = bytearray(SEEDS[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        near_the_start = data.draw(st.booleans())
        at = data.draw(st.integers(0, min(200, len(mutated)) if near_the_start else len(mutated)))
        end = at + data.draw(st.sampled_from([0, 1, 4, 100, 5_000, len(mutated)]))
        mutated[at:end] = data.draw(st.binary(max_size=8) | st.just(bytes(500)))
    _decoded_or_refused(bytes(mutated))


@given(st.binary(max_size=2_000))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    _decoded_or_refused(data)


def test_several_threads_decode_at_once_and_get_what_one_gets() -> None:
    files = list(SEEDS.values()) * 4

    def samples(data: bytes) -> bytes:
        return decode_audio(data, SETTINGS).samples.tobytes()

    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(samples, files))
    assert at_once == [samples(data) for data in files]


def test_real_recordings_are_decoded_without_a_warning(recordings: Path, warnings: Warnings) -> None:
    jfk = decode_audio((recordings / "jfk.flac").read_bytes(), SETTINGS)
    question = decode_audio((recordings / "bear-or-shark.mp3").read_bytes(), SETTINGS)
    assert jfk.sample_rate_hz == question.sample_rate_hz == 44_100
    assert jfk.duration_s == pytest.approx(11.0, abs=0.1)
    assert question.duration_s == pytest.approx(2.1, abs=0.1)
    assert not warnings()
