"""Sound files of every kind, whole, streamed or damaged, are decoded."""

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sounds import voice
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import BadAudio, TooLong
from shared.settings import Settings
from tests.support.sounds import ffmpeg_stream, likeness, sound_file, tone

SETTINGS = Settings()
SECOND = voice(16_000, 16_000).samples


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
