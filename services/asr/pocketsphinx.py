"""pocketsphinx: speech recognition on a CPU, with its English model in the Python package."""

import logging
import os
import sys
import threading
from multiprocessing.connection import Connection, Pipe

import numpy as np

from services.asr.pocketsphinx_worker import Answer
from services.process.watched_process import WatchedProcess
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, EngineSpec, register_model
from shared.errors import EngineLoadFailed, Stage, StageFailed
from shared.payloads import Word

_log = logging.getLogger(__name__)


@register_model(
    "asr",
    "pocketsphinx",
    EngineSpec(
        summary="English on a CPU; simple questions, clearly spoken.",
        licence="BSD-2-Clause",
        packages=("pocketsphinx==5.1.1",),
        modules=("pocketsphinx",),
        sample_rate_hz=ASR_SAMPLE_RATE_HZ,
    ),
)
class PocketsphinxASR(ASRModel):
    """Decodes in a process of its own, one utterance at a time, in about 0.3 of the audio's length.

    Safe to share between threads. `close` ends the process at once; a `transcribe` under way then raises
    StageFailed. A process that dies by itself fails the utterance it had, and the next one gets a fresh
    process.
    """

    model_name = "pocketsphinx en-us"
    has_word_times = True

    def __init__(self) -> None:
        self._busy = threading.Lock()  # held by whoever talks to the worker
        self._ownership = threading.Lock()  # held to replace or end the worker, never for long
        self._worker: _Worker | None = None
        self._closed = False

    def load(self) -> None:
        """Start the process and wait until it has its model: 0.7 s, 155 MB."""
        with self._busy:
            self._started_worker()

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        """The words in lower case without punctuation."""
        return self._decoded(pcm).text

    def transcribe_words(self, pcm: Pcm, *, language: str | None = None) -> list[Word]:
        """The same words. Their times cost nothing."""
        words = self._decoded(pcm).words
        return [Word(text=f" {text}", start_s=start_s, end_s=end_s) for text, start_s, end_s in words]

    def close(self) -> None:
        """End the process, also in the middle of a decode."""
        with self._ownership:
            self._closed = True
            if self._worker:
                self._worker.kill()
        with self._busy:  # whoever holds it has just lost the worker
            if self._worker:
                self._worker.end()

    def _decoded(self, pcm: Pcm) -> Answer:
        if not pcm.num_samples:
            return Answer()
        pcm16 = np.round(pcm.samples * 32767).astype("<i2").tobytes()
        with self._busy:
            worker = self._worker if self._worker and self._worker.is_running() else self._started_worker()
            answer = self._answer(worker, pcm16)
        if answer.problem:
            raise StageFailed(f"pocketsphinx failed: {answer.problem}", Stage.ASR)
        return answer

    def _started_worker(self) -> "_Worker":
        with self._ownership:
            if self._closed:
                raise StageFailed("pocketsphinx was closed.", Stage.ASR)
            if self._worker:
                self._worker.end()
            worker = self._worker = _Worker()
        answer = self._answer(worker)
        if answer.problem:
            worker.end()
            raise EngineLoadFailed(f"pocketsphinx cannot be loaded: {answer.problem}", Stage.ASR)
        return worker

    def _answer(self, worker: "_Worker", pcm16: bytes | None = None) -> Answer:
        try:
            return worker.answer(pcm16)
        except (EOFError, OSError):
            worker.kill()  # the connection ends a moment before the process is seen to
            return Answer(problem="it was closed" if self._closed else "its process died")


class _Worker:
    """A running `services.asr.pocketsphinx_worker` and the connection to it."""

    def __init__(self) -> None:
        self._connection: Connection[bytes, Answer]
        self._connection, theirs = Pipe()
        with theirs:
            fd = theirs.fileno()
            code = f"from services.asr.pocketsphinx_worker import main; main({fd})"
            environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            command = [sys.executable, "-P", "-c", code]
            self._process = WatchedProcess(command, environ, _log.info, pass_fds=[fd])

    def is_running(self) -> bool:
        """Whether the process runs."""
        return not self._process.has_ended

    def answer(self, pcm16: bytes | None) -> Answer:
        """Its answer to an utterance of 16-bit samples, or its first one. Raises EOFError or OSError if it
        ends."""
        if pcm16 is not None:
            self._connection.send_bytes(pcm16)
        return self._connection.recv()

    def kill(self) -> None:
        """End the process. Whoever waits for an answer gets an EOFError."""
        self._process.end(grace_s=0.0)

    def end(self) -> None:
        """End the process and close the connection; nobody may be using it."""
        self.kill()
        self._connection.close()
