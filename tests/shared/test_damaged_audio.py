import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.sounds import Samples
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.settings import Settings
from tests.support.sounds import sound_file, strength, tone

SETTINGS = Settings()
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


@pytest.mark.parametrize("size", [700, 5_000, 12_000])
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
def test_an_mp3_is_decoded_up_to_where_it_is_damaged(
    mp3: bytes, damage: Damage, size: int, warnings: Warnings
) -> None:
    decoded = decode_audio(damage(mp3, len(mp3) * 2 // 5, size), SETTINGS)
    scale = decoded.sample_rate_hz / 16_000
    assert decoded.duration_s * scale == pytest.approx(4.0, abs=0.3)
    assert strength(decoded.samples[4_000:-4_000], LOW_HZ * scale, decoded.sample_rate_hz) > 0.4
    assert np.abs(decoded.samples).max() < 0.7  # no burst of noise at the end
    [warning] = warnings()
    assert warning == f"WARNING The MP3 is damaged or cut short: {decoded.duration_s:.1f} s of it are used."


def test_an_mp3_that_is_cut_short_is_decoded_as_far_as_it_goes(warnings: Warnings) -> None:
    decoded = decode_audio(MP3[:MIDDLE], SETTINGS)
    assert decoded.duration_s == pytest.approx(5.0, abs=0.2)
    assert strength(decoded.samples, LOW_HZ, 16_000) > 0.4
    assert warnings() == ["WARNING The MP3 is damaged or cut short: 5.0 s of it are used."]


def test_an_mp3_whose_beginning_is_overwritten_is_decoded_from_where_it_is_sound() -> None:
    decoded = decode_audio(bytes(MIDDLE) + MP3[MIDDLE:], SETTINGS)
    assert decoded.duration_s == pytest.approx(5.0, abs=0.2)
    assert strength(decoded.samples, HIGH_HZ, 16_000) > 0.4


def test_an_mp3_of_variable_bitrate_is_decoded_up_to_its_damage(warnings: Warnings) -> None:
    mp3 = sound_file(TWO_TONES.samples, kind="MP3", subtype="MPEG_LAYER_III")  # most frames of 36 bytes
    assert len(mp3) < 20_000
    decoded = decode_audio(DAMAGES["zeroed"](mp3, len(mp3) // 2, 1_000), SETTINGS)
    assert strength(decoded.samples[:32_000], LOW_HZ, 16_000) > 0.4
    assert 2.0 < decoded.duration_s < 9.0
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
    assert warning == f"WARNING The audio is damaged after {decoded.duration_s:.1f} s: its rest is lost."


def test_real_recordings_are_decoded_without_a_warning(recordings: Path, warnings: Warnings) -> None:
    jfk = decode_audio((recordings / "jfk.flac").read_bytes(), SETTINGS)
    question = decode_audio((recordings / "bear-or-shark.mp3").read_bytes(), SETTINGS)
    assert jfk.sample_rate_hz == question.sample_rate_hz == 44_100
    assert jfk.duration_s == pytest.approx(11.0, abs=0.1)
    assert question.duration_s == pytest.approx(2.1, abs=0.1)
    assert not warnings()
