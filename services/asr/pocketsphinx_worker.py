"""The process in which pocketsphinx decodes: it holds the GIL for the whole of a decode.

Over its connection it first sends an Answer (ready, or what is wrong), then one for each utterance that
it is sent. It imports nothing else of the project, so that it is ready soon.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

MAX_STATES_PER_FRAME = 5_000
"""The search is pruned to this. pocketsphinx's own 30,000 takes twice the time, and got 107 words wrong
where this got 110, of 264 in clean, noisy and narrow-band speech."""

_FRAME_S = 0.01


@dataclass(frozen=True)
class Answer:
    """The transcript and its words, each with its start and end in seconds; or what went wrong."""

    text: str = ""
    words: tuple[tuple[str, float, float], ...] = ()
    problem: str = ""


def main(connection_fd: int) -> None:
    """Serve the connection behind this file descriptor until its other side is closed."""
    connection: Connection[Answer, bytes] = Connection(connection_fd)
    with connection:
        try:
            decoder = _load_decoder()
        except Exception as error:
            reinstall = "reinstall it by pip install --force-reinstall pocketsphinx"
            connection.send(Answer(problem=f"{error}; {reinstall}"))
            return
        connection.send(Answer())
        _serve(connection, decoder)


def _serve(connection: "Connection[Answer, bytes]", decoder: Any) -> None:
    while True:
        try:
            connection.send(_decode(decoder, connection.recv_bytes()))
        except (EOFError, OSError):
            return


def _load_decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL", maxhmmpf=MAX_STATES_PER_FRAME)


def _decode(decoder: Any, pcm16: bytes) -> Answer:
    """One utterance of 16 kHz mono 16-bit samples.

    It is decoded as a whole: fed in pieces, pocketsphinx gets several times as many words wrong.
    """
    try:
        decoder.reinit_feat()  # else the audio before would change this transcript
        decoder.start_utt()
        decoder.process_raw(pcm16, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        segments = decoder.seg() if hypothesis else ()
        return Answer(hypothesis.hypstr if hypothesis else "", tuple(_words(segments)))
    except Exception as error:
        return Answer(problem=str(error))


def _words(segments: Any) -> Iterator[tuple[str, float, float]]:
    for segment in segments:
        word = segment.word.partition("(")[0]  # "(2)" marks its second pronunciation
        if word[0] not in "<[+":  # the marks of silence and noises
            yield word, segment.start_frame * _FRAME_S, (segment.end_frame + 1) * _FRAME_S
