"""Any audio file to Pcm, by libsndfile in this process or by pydub and ffmpeg in another.

All of it is in memory, blocking, and safe to call from several threads at once. No header is trusted:
samples are read block by block, up to a limit, and checked.
"""

import io
import logging
import re
from contextlib import suppress
from math import ceil
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from shared.audio.ffmpeg import decode_to_wav
from shared.audio.mp3 import encode_mp3, intact_frames
from shared.audio.pcm import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, Pcm, encode_wav
from shared.errors import BadAudio, TooLong
from shared.payloads import MAX_SPEECH_S, Mp3Audio, Speech
from shared.settings import Settings
from shared.settings import settings as process_settings

logger = logging.getLogger(__name__)

MAX_CHANNELS = 32
_BLOCK_FRAMES = 65_536

_SIGNATURES = (
    (rb"(RIFF|RIFX|RF64)....WAVE", "WAV", None),
    (rb"fLaC", "FLAC", None),
    (rb"OggS", "Ogg", None),
    (rb"FORM....AIF[FC]", "AIFF", None),
    (rb"caff", "CAF", None),
    (rb"\.snd", "AU", None),
    (rb"....ftyp", "M4A", "mp4"),
    (rb"\x1a\x45\xdf\xa3", "WebM", "matroska"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "WMA", "asf"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC", "aac"),
)
"""First bytes, the container's name, and the ffmpeg demuxer of those that libsndfile does not read. MP3 has
no signature."""
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), name, demuxer) for pattern, name, demuxer in _SIGNATURES)
_CHUNK_NAME = re.compile(rb"[A-Za-z][\w ]{3}")

_ENCODER_DELAY = 576
"""Samples that LAME puts before the sound. Its Info tag says so, but low bitrates have no room for one."""
_MAX_MISSING = 1152
_MAX_SURPLUS = 3 * 1152
"""Tolerated difference between the decoded and the declared length: encoder delay and padding (seen 2303)."""


def decode_audio(data: bytes, settings: Settings) -> Pcm:
    """Decode an audio file to mono at the file's own sample rate.

    libsndfile reads WAV, FLAC, Ogg, AIFF, CAF, AU and MP3 in this process; ffmpeg, where it is
    installed, M4A, AAC, WebM and WMA in another. Channels are averaged, samples beyond ±1 clipped, and
    NaN or infinity refused. A damaged file is decoded up to the damage, and a warning logged.

    Raises BadAudio if the bytes are no such file or hold less than `settings.min_audio_s`; TooLong if they
    are more than `settings.max_file_bytes`, and as soon as more than `settings.max_audio_s` has been
    decoded, whatever the header says.
    """
    if not data:
        raise BadAudio("The audio is empty: there is not one byte of it.")
    if len(data) > settings.max_file_bytes:
        raise TooLong(
            f"The audio has more than {settings.max_file_bytes:,} bytes: send a shorter part of it."
        )
    pcm = _decode(_without_id3(data), settings)
    if not pcm.num_samples or pcm.duration_s < settings.min_audio_s:
        raise BadAudio(
            f"The audio lasts {pcm.duration_s:.3f} s, and at least {settings.min_audio_s:g} s are needed: "
            "record for longer."
        )
    return pcm


def decode_mp3(audio: Mp3Audio, max_audio_s: float = MAX_SPEECH_S) -> Pcm:
    """Decode to exactly `audio.num_samples`.

    Raises TooLong if that is more than `max_audio_s`; BadAudio if the bytes are no MP3, are damaged, or
    are of another sample rate or, by more than a few frames, another length. No more than the declared
    length and about a second is decoded.
    """
    if audio.num_samples > ceil(max_audio_s * audio.sample_rate_hz):
        raise TooLong(f"The audio is longer than {max_audio_s:g} s: send a shorter part of it.")
    not_as_declared = BadAudio(
        f"The MP3 is damaged, or is not the {audio.duration_s:.2f} s at {audio.sample_rate_hz} Hz that it "
        "claims to be: encode it again."
    )
    frames = intact_frames(audio.mp3, audio.duration_s)
    if frames is None or frames.cut_short or frames.sample_rate_hz != audio.sample_rate_hz:
        raise not_as_declared
    decoded = _read_mono(frames.mp3, frames.duration_s + 1.0).samples
    start = _ENCODER_DELAY if decoded.size >= audio.num_samples + _ENCODER_DELAY else 0
    samples = decoded[start : start + audio.num_samples]
    missing = audio.num_samples - samples.size
    surplus = round((frames.duration_s - audio.duration_s) * audio.sample_rate_hz)
    if missing > _MAX_MISSING or surplus > _MAX_SURPLUS:
        raise not_as_declared
    return Pcm(np.pad(samples, (0, missing)), audio.sample_rate_hz)


def to_pcm(speech: Speech, max_audio_s: float = MAX_SPEECH_S) -> Pcm:
    """The speech as Pcm, decoded if it is MP3. Raises what `decode_mp3` does."""
    return speech if isinstance(speech, Pcm) else decode_mp3(speech, max_audio_s)


def compress_wav_to_mp3(wav_bytes: bytes, bitrate: int = 64) -> bytes:
    """A WAV (or any audio file) as MP3 of `bitrate` kbps, within the bounds of this process's settings.

    Raises what `decode_audio` does.
    """
    return encode_mp3(decode_audio(wav_bytes, process_settings()), bitrate).mp3


def decompress_mp3_to_wav(mp3_bytes: bytes) -> bytes:
    """An MP3 (or any audio file) of any length up to MAX_SPEECH_S as 16-bit WAV.

    Raises what `decode_audio` does.
    """
    return encode_wav(decode_audio(mp3_bytes, any_length(process_settings())))


def any_length(settings: Settings) -> Settings:
    """For audio that is no request: as long as audio may be at all."""
    return settings.model_copy(update={"max_audio_s": MAX_SPEECH_S})


def get_compression_ratio(original: bytes, compressed: bytes) -> float:
    """Compressed size ÷ original size: 0.25 is a quarter. Raises BadAudio if the original is empty."""
    if not original:
        raise BadAudio("The original is empty: there is nothing to compare with.")
    return len(compressed) / len(original)


def _decode(data: bytes, settings: Settings) -> Pcm:
    for pattern, name, demuxer in _PATTERNS:
        if pattern.match(data):
            if demuxer:
                data = decode_to_wav(data, name, demuxer, settings.max_audio_s, settings.ffmpeg_timeout_s)
            elif name == "WAV":
                data = _with_real_length(data)
            return _read_mono(data, settings.max_audio_s)
    return _decode_mp3_file(data, settings.max_audio_s)


def _decode_mp3_file(data: bytes, max_s: float) -> Pcm:
    frames = intact_frames(data, max_s)
    if frames is None:
        raise BadAudio(
            "These bytes are no audio that can be read: send WAV, MP3, FLAC, Ogg, M4A, AAC, WebM or WMA."
        )
    pcm = _read_mono(frames.mp3, max_s)
    if frames.cut_short:
        logger.warning("The MP3 is damaged or cut short: %.1f s of it are used.", pcm.duration_s)
    return pcm


def _without_id3(data: bytes) -> bytes:
    """The bytes after an ID3v2 tag, which may come before any kind of audio."""
    if data[:3] != b"ID3":
        return data
    size = 0
    for seven_bits in data[6:10]:
        size = size << 7 | seven_bits
    return data[10 + size :]


def _with_real_length(wav: bytes) -> bytes:
    """A WAV that was written to a pipe may say that its samples have 0 bytes, which libsndfile believes,
    while it takes a length that is too large for "up to the end". Fill in the real length, unless other
    chunks follow."""
    order: Literal["big", "little"] = "big" if wav[:4] == b"RIFX" else "little"
    at = 12
    for _ in range(100):
        name, size = wav[at : at + 4], int.from_bytes(wav[at + 4 : at + 8], order)
        at += 8
        if name == b"data":
            break
        at += size + size % 2
    if name != b"data" or size or at >= len(wav) or _CHUNK_NAME.match(wav, at):
        return wav
    return wav[: at - 4] + (len(wav) - at).to_bytes(4, order) + wav[at:]


def _read_mono(data: bytes, max_s: float) -> Pcm:
    """Read a file by libsndfile; what comes before damage is returned, and a warning logged.

    Raises BadAudio if libsndfile cannot read the file, its rate or channels are none of recorded speech,
    or samples are no numbers; TooLong once more than `max_s` has been read.
    """
    try:
        with _SequentialFile(_Bytes(data)) as file:
            _check_header(file)
            return Pcm(_read(file, ceil(max_s * file.samplerate)), file.samplerate)
    except soundfile.LibsndfileError:
        raise BadAudio(
            "The audio file is damaged, or of an encoding that is not supported: "
            "export it again as WAV or MP3."
        ) from None


class _Bytes(io.BytesIO):
    """libsndfile seeks to before the start of some damaged files. Raised in its callback, the ValueError
    would not reach us, but standard error."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Only reads on. soundfile seeks after each read, which makes libmpg123 forget the frames that the
    next one borrows from (a dropout at each block), and fails on FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


def _check_header(file: soundfile.SoundFile) -> None:
    if not MIN_SAMPLE_RATE_HZ <= file.samplerate <= MAX_SAMPLE_RATE_HZ:
        raise BadAudio(
            f"A sample rate of {file.samplerate} Hz is not one of recorded speech: export it again."
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise BadAudio(f"{file.channels} channels are too many: export the audio as mono.")


def _read(file: soundfile.SoundFile, max_frames: int) -> NDArray[np.float32]:
    block = np.empty((_BLOCK_FRAMES, file.channels), np.float32)  # used again for each block
    mono, num_frames, damaged = [np.empty(0, np.float32)], 0, False
    while not damaged:
        try:
            read = len(file.read(out=block))
        except soundfile.LibsndfileError:
            intact, damaged = int(file.tell()), True
            if not intact:
                raise
            logger.warning("The audio is damaged after %.1f s: its rest is lost.", intact / file.samplerate)
            read = max(0, intact - num_frames)
        if not read:
            break
        mono.append(_mono(block[:read]))
        num_frames += read
        if num_frames > max_frames:
            limit_s = max_frames / file.samplerate
            raise TooLong(f"The audio is longer than {limit_s:g} s: send a shorter part of it.")
    return np.concatenate(mono)


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(block).all():
        raise BadAudio("The audio holds samples that are no numbers (NaN or infinity): export it again.")
    mono: NDArray[np.float32] = np.clip(block.T, -1.0, 1.0, order="C").mean(
        axis=0
    )  # 10 times axis=1 of block
    return mono
