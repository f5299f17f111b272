"""What is no usable audio, or too much of it, is refused at small cost."""

import struct
import tracemalloc

import numpy as np
import pytest

from bench.sounds import voice
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.errors import TooLong
from shared.settings import Settings
from tests.shared.test_audio_decoding import SECOND, SETTINGS, flac_claiming, streamed_wav
from tests.support.sounds import refused, sound_file, tone

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


@pytest.mark.parametrize("header", [sound_file(SECOND)[:46], streamed_wav(0, 0)[:46]])
def test_a_wav_that_ends_in_its_header_is_refused(header: bytes) -> None:
    for length in range(1, len(header)):
        refused(header[:length])


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
    if kind == "MP3":
        data = encode_mp3(voice(60 * 8_000, 8_000)).mp3 * 30
    else:
        data = sound_file(
            np.zeros(1_800 * 8_000, np.float32), 8_000, kind, {"OGG": "VORBIS"}.get(kind, "PCM_16")
        )
    tracemalloc.start()
    with pytest.raises(TooLong, match="longer than 120 s") as caught:
        decode_audio(data, SETTINGS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak_bytes - len(data) < 3 * 120 * 8_000 * 4


def test_a_file_of_too_many_bytes_is_refused_before_it_is_decoded() -> None:
    wav = sound_file(SECOND)
    assert decode_audio(wav, Settings(max_file_bytes=len(wav))).num_samples == 16_000
    with pytest.raises(TooLong, match="more than 1,000 bytes"):
        decode_audio(wav, Settings(max_file_bytes=1_000))


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
