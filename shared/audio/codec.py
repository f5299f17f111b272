"""Audio from bytes and to bytes: any audio file to Pcm, Pcm to MP3 and WAV and back.

All of it is in memory, blocking, and safe to call from several threads at once.
"""

import io
import logging
from math import ceil

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from shared.audio.container import container_of, without_id3
from shared.audio.foreign import decode_to_wav
from shared.audio.mp3_frames import MP3_BITRATES_KBPS, playable_frames
from shared.audio.pcm import Pcm
from shared.audio.sound_file import read_mono
from shared.audio.streamed_wav import with_real_length
from shared.errors import BadAudio, TooLong
from shared.payloads import Mp3Audio, Speech
from shared.settings import Settings
from shared.settings import settings as process_settings

logger = logging.getLogger(__name__)

_ENCODER_DELAY = 576
"""Samples that LAME puts before the sound. Its Info tag says so, but low bitrates have no room for one."""
_MAX_MISSING = 1152
_MAX_SURPLUS = 3 * 1152
"""How many samples an MP3 may hold less and more (delay and padding; seen 2303) than its Mp3Audio says."""
_PCM_16_SCALE = 32_768


def decode_audio(data: bytes, settings: Settings) -> Pcm:
    """The sound of an audio file as mono at the file's own sample rate.

    libsndfile reads WAV, FLAC, Ogg, AIFF, CAF, AU and MP3 in this process; ffmpeg, where it is
    installed, M4A, AAC, WebM and WMA in another. Channels are averaged, samples beyond ±1 clipped, and
    NaN or infinity refused. What is left of a damaged file is decoded, and a warning logged.

    Raises BadAudio if the bytes are no such file or hold less than `settings.min_audio_s`; TooLong as
    soon as more than `settings.max_audio_s` has been decoded, whatever the header says.
    """
    if not data:
        raise BadAudio("The audio is empty: there is not one byte of it.")
    pcm = _decode(without_id3(data), settings)
    if not pcm.num_samples or pcm.duration_s < settings.min_audio_s:
        raise BadAudio(
            f"The audio lasts {pcm.duration_s:.3f} s, and at least {settings.min_audio_s:g} s are needed: "
            "record for longer."
        )
    return pcm


def encode_mp3(pcm: Pcm, bitrate_kbps: int = 64) -> Mp3Audio:
    """The sound as MP3 of constant bitrate.

    A sample rate that MP3 does not have is raised to the next one, or lowered to 48 kHz. A bitrate
    that LAME does not have at the sample rate becomes the nearest one, of two the higher: 8–64 kbps
    below 16 kHz, 8–160 kbps below 32 kHz, 32–320 kbps above. LAME lowers the volume by up to 5 %.

    Raises BadAudio if there are no samples.
    """
    rate_hz = next((rate for rate in MP3_BITRATES_KBPS if rate >= pcm.sample_rate_hz), max(MP3_BITRATES_KBPS))
    pcm = resample(pcm, rate_hz)
    if not pcm.num_samples:
        raise BadAudio("There is no sound to encode: the audio holds no samples.")
    mp3 = io.BytesIO()
    with mp3_writer(mp3, rate_hz, bitrate_kbps) as writer:
        writer.write(pcm.samples)
    return Mp3Audio(mp3=mp3.getvalue(), sample_rate_hz=rate_hz, num_samples=pcm.num_samples)


def mp3_writer(mp3: io.BytesIO, sample_rate_hz: int, bitrate_kbps: int) -> soundfile.SoundFile:
    """An encoder that writes mono float32 samples into `mp3` as `encode_mp3` would; closing it completes
    the MP3. The sample rate is one of MP3's own.
    """
    bitrates = MP3_BITRATES_KBPS[sample_rate_hz]
    nearest = min(bitrates, key=lambda kbps: (abs(kbps - bitrate_kbps), -kbps))
    lowest, highest = bitrates[0], bitrates[-1]
    return soundfile.SoundFile(
        mp3,
        "w",
        sample_rate_hz,
        channels=1,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=min((highest - nearest) / (highest - lowest), 0.995),  # 1.0 is refused
    )


def decode_mp3(audio: Mp3Audio, max_audio_s: float = 120.0) -> Pcm:
    """The sound of an MP3, exactly `audio.num_samples` long.

    Raises TooLong if that is more than `max_audio_s`; BadAudio if the bytes are no MP3, are damaged, or
    are of another sample rate or, by more than a few frames, another length. No more than is claimed
    and about a second is decoded.
    """
    if audio.num_samples > ceil(max_audio_s * audio.sample_rate_hz):
        raise TooLong(f"The audio is longer than {max_audio_s:g} s: send a shorter part of it.")
    not_as_claimed = BadAudio(
        f"The MP3 is damaged, or is not the {audio.duration_s:.2f} s at {audio.sample_rate_hz} Hz that it "
        "claims to be: encode it again."
    )
    frames = playable_frames(audio.mp3, audio.duration_s)
    if frames is None or frames.lost_s or frames.sample_rate_hz != audio.sample_rate_hz:
        raise not_as_claimed
    decoded = read_mono(frames.mp3, frames.duration_s + 1.0).samples
    start = _ENCODER_DELAY if decoded.size >= audio.num_samples + _ENCODER_DELAY else 0
    samples = decoded[start : start + audio.num_samples]
    missing = audio.num_samples - samples.size
    surplus = round((frames.duration_s - audio.duration_s) * audio.sample_rate_hz)
    if missing > _MAX_MISSING or surplus > _MAX_SURPLUS:
        raise not_as_claimed
    return Pcm(np.pad(samples, (0, missing)), audio.sample_rate_hz)


def to_pcm(speech: Speech, max_audio_s: float = 120.0) -> Pcm:
    """The speech as Pcm, decoded if it is MP3. Raises what `decode_mp3` does."""
    return speech if isinstance(speech, Pcm) else decode_mp3(speech, max_audio_s)


def resample(pcm: Pcm, sample_rate_hz: int) -> Pcm:
    """The sound at another sample rate, by soxr at high quality; the length is rounded to samples."""
    if pcm.sample_rate_hz == sample_rate_hz:
        return pcm
    samples = soxr.resample(pcm.samples, pcm.sample_rate_hz, sample_rate_hz, quality="HQ")
    return Pcm(np.clip(samples, -1.0, 1.0), sample_rate_hz)  # filters overshoot


def encode_wav(pcm: Pcm) -> bytes:
    """The sound as a 16-bit WAV; 16-bit samples come back exactly."""
    wav = io.BytesIO()
    soundfile.write(wav, as_int16(pcm.samples), pcm.sample_rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples within ±1 as 16-bit ones."""
    scaled = np.rint(samples * _PCM_16_SCALE).clip(-_PCM_16_SCALE, _PCM_16_SCALE - 1)
    return scaled.astype(np.int16)


def compress_wav_to_mp3(wav_bytes: bytes, bitrate: int = 64) -> bytes:
    """A WAV (or any audio file) as MP3 of `bitrate` kbps, within the bounds of this process's settings.

    Raises what `decode_audio` does.
    """
    return encode_mp3(decode_audio(wav_bytes, process_settings()), bitrate).mp3


def decompress_mp3_to_wav(mp3_bytes: bytes) -> bytes:
    """An MP3 (or any audio file) as 16-bit WAV, within the bounds of this process's settings.

    Raises what `decode_audio` does.
    """
    return encode_wav(decode_audio(mp3_bytes, process_settings()))


def get_compression_ratio(original: bytes, compressed: bytes) -> float:
    """Compressed size ÷ original size: 0.25 is a quarter. Raises BadAudio if the original is empty."""
    if not original:
        raise BadAudio("The original is empty: there is nothing to compare with.")
    return len(compressed) / len(original)


def _decode(data: bytes, settings: Settings) -> Pcm:
    container = container_of(data)
    if container is None:
        return _decode_mp3_file(data, settings.max_audio_s)
    if container.ffmpeg_demuxer:
        data = decode_to_wav(
            data, container.name, container.ffmpeg_demuxer, settings.max_audio_s, settings.ffmpeg_timeout_s
        )
    elif container.name == "WAV":
        data = with_real_length(data)
    return read_mono(data, settings.max_audio_s)


def _decode_mp3_file(data: bytes, max_s: float) -> Pcm:
    frames = playable_frames(data, max_s)
    if frames is None:
        raise BadAudio(
            "These bytes are no audio that can be read: send WAV, MP3, FLAC, Ogg, M4A, AAC, WebM or WMA."
        )
    pcm = read_mono(frames.mp3, max_s)
    if frames.lost_s:
        logger.warning(
            "The MP3 is damaged or cut short: about %.1f s of it are lost, %.1f s are used.",
            frames.lost_s,
            pcm.duration_s,
        )
    return pcm
