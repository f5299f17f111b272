"""Speech is encoded while it comes, at any sample rate and speed."""

import threading

import numpy as np
import pytest

from gateway.speech_encoder import MAX_SPEED, MIN_SPEED, SPEECH_FORMATS, SpeechEncoder, SpeechFormat
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm
from shared.settings import Settings
from tests.support.sounds import tone


def encoded(encoder: SpeechEncoder, *segments: Pcm) -> bytes:
    return b"".join([*(encoder.write(segment) for segment in segments), encoder.finish()])


@pytest.mark.parametrize("speech_format", SPEECH_FORMATS)
def test_what_is_written_comes_out_within_a_fifth_of_a_second(speech_format: SpeechFormat) -> None:
    encoder = SpeechEncoder(speech_format)
    came: list[int] = []
    for start in range(20):
        came.append(len(encoder.write(Pcm(tone(440 + start, 0.1, 24_000), 24_000))))
    assert all(came[first] + came[first + 1] for first in range(2, 19))
    encoder.close()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_every_sample_rate_becomes_24_khz_of_the_same_length(rate_hz: int) -> None:
    encoder = SpeechEncoder("wav")
    heard = decode_audio(encoded(encoder, Pcm(tone(440, 1.0, rate_hz), rate_hz)), Settings())
    assert heard.sample_rate_hz == 24_000
    assert heard.num_samples == encoder.num_samples == pytest.approx(24_000, abs=2)


def test_segments_join_without_a_click() -> None:
    sine = tone(440, 2.0)
    segments = [Pcm(sine[start : start + 700].copy(), 16_000) for start in range(0, sine.size, 700)]
    whole = decode_audio(encoded(SpeechEncoder("wav"), Pcm(sine, 16_000)), Settings())
    joined = decode_audio(encoded(SpeechEncoder("wav"), *segments), Settings())
    assert joined.samples == pytest.approx(whole.samples, abs=2 / 32_768)


def test_the_sample_rate_may_change_in_between() -> None:
    segments = [Pcm(tone(440, 1.0, rate_hz), rate_hz) for rate_hz in (16_000, 24_000, 22_050)]
    heard = decode_audio(encoded(SpeechEncoder("flac"), *segments), Settings())
    assert heard.duration_s == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("speed", [MIN_SPEED, 0.5, 0.8, 1.25, 2.0, 3.0, MAX_SPEED])
def test_speed_divides_the_length(speed: float) -> None:
    heard = decode_audio(encoded(SpeechEncoder("wav", speed), Pcm(tone(440, 4.0), 16_000)), Settings())
    assert heard.duration_s == pytest.approx(4.0 / speed, rel=0.03)


def test_peaks_are_not_wrapped_around() -> None:
    square = np.sign(tone(200, 1.0)).astype(np.float32)
    heard = decode_audio(encoded(SpeechEncoder("wav"), Pcm(square, 16_000)), Settings()).samples
    assert np.abs(np.diff(heard)).max() < 1.9  # a wrapped sample jumps by 2


def test_an_encoder_can_be_closed_at_any_time_and_writes_no_more() -> None:
    encoder = SpeechEncoder("mp3")
    encoder.write(Pcm(tone(440, 0.1), 16_000))
    encoder.close()
    encoder.close()
    with pytest.raises(ValueError, match="closed"):
        encoder.write(Pcm(tone(440, 0.1), 16_000))


def test_an_encoder_is_closed_while_another_thread_encodes() -> None:
    speech = Pcm(tone(440, 0.5), 16_000)

    def encode(encoder: SpeechEncoder, begun: threading.Event) -> None:
        try:
            while True:
                encoder.write(speech)
                begun.set()
        except ValueError:  # closed
            return

    for _ in range(10):
        encoder, begun = SpeechEncoder("opus"), threading.Event()
        thread = threading.Thread(target=encode, args=(encoder, begun))
        thread.start()
        begun.wait()
        encoder.close()
        thread.join()
