"""Audio from a file or standard input, and speech to a file or standard output."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from client.errors import OutputNotWritten
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, encode_wav
from shared.errors import BadAudio, TooLong
from shared.settings import Settings

STANDARD_INPUT = "-"
STANDARD_OUTPUT = Path("-")
OUTPUT_SUFFIXES = (".mp3", ".wav")


def read_audio(source: str, settings: Settings) -> Pcm:
    """The audio of a file, or of standard input for "-".

    Raises BadAudio or TooLong, with what is wrong.
    """
    return decode_audio(_read_bytes(source, settings.max_file_bytes), settings)


def check_writable(path: Path, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> None:
    """Raise OutputNotWritten if audio could not be written there, before any work is done for it."""
    if path == STANDARD_OUTPUT:
        if sys.stdout is None or sys.stdout.isatty():
            raise OutputNotWritten("Standard output is closed or the terminal: redirect it, or name a file.")
        return
    if path.suffix.lower() not in suffixes:
        raise OutputNotWritten(f"Output {path}: use a name that ends in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise OutputNotWritten(f"Output {path} is a directory: name a file in it.")
    if not path.parent.is_dir():
        raise OutputNotWritten(f"Output {path}: there is no directory {path.parent}. Create it first.")
    existed = path.exists()
    with write_errors(path), path.open("ab"):
        pass
    if not existed:
        path.unlink()


def write_audio(path: Path, pcm: Pcm, settings: Settings) -> None:
    """Write speech as MP3 or WAV, by the file's suffix; to standard output MP3. Raises OutputNotWritten."""
    wav = path.suffix.lower() == ".wav"
    data = encode_wav(pcm) if wav else encode_mp3(pcm, settings.mp3_bitrate_kbps).mp3
    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with write_errors(path):
        path.write_bytes(data)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Raise OutputNotWritten for what the system says against writing there."""
    try:
        yield
    except OSError as error:
        raise OutputNotWritten(f"Output {path} cannot be written: {error.strerror}.") from error


def _read_bytes(source: str, max_bytes: int) -> bytes:
    if source == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise BadAudio("Standard input is closed or the keyboard: pipe audio into it, or name a file.")
        data = sys.stdin.buffer.read(max_bytes + 1)
    else:
        data = _read_file(Path(source), max_bytes)
    if len(data) > max_bytes:
        raise TooLong(f"{source} has more than {max_bytes:,} bytes. Cut it to a single question.")
    return data


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise BadAudio(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise BadAudio(f"{path} is a directory: name an audio file in it.") from None
    except OSError as error:
        raise BadAudio(f"{path} cannot be read: {error.strerror}.") from error
