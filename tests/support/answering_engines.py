"""Engines whose answer shows which question it belongs to, and which a test can hold up or break anywhere.

Question 17 is a recording that is 17 samples longer than question 0. Its transcript, its reply and its
speech all tell the number, the speech by its length. This file is copied into a project's services/.
"""

import asyncio
import os
import re
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import numpy as np

from shared.audio.pcm import Pcm
from shared.engines import ASRModel, LLMModel, TTSModel
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool

QUESTION_0_SAMPLES = 8_000
SAMPLE_RATE_HZ = 16_000
_LOOK_EVERY_S = 0.02


def transcript_of(number: int) -> str:
    """What the ASR hears."""
    return f"question {number}"


def reply_to(number: int) -> str:
    """What the LLM writes."""
    return (
        f"Answer {number} begins here, and it goes on. Then answer {number} has a middle part. "
        f"And at last answer {number} ends here."
    )


def speech_samples(text: str) -> int:
    """How long the TTS speaks; of texts that are cut at spaces, the lengths of the parts add up."""
    return sum(400 + zlib.crc32(word.encode()) % 400 for word in text.split())


class Points:
    """Points of the engines' work, such as "llm-middle" of question 17: each shows that it was reached, and
    carries out the order that was left there.

    Orders are "hold" (until it is released), and, once each, "wait 0.5", "fail" and "die"; "always fail" and
    "always die" are carried out until they are released.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def order(self, point: str, number: int, what: str) -> None:
        """Leave an order."""
        draft = self._order(point, number).with_suffix(".draft")
        draft.write_text(what)
        draft.rename(self._order(point, number))

    def release(self, point: str, number: int) -> None:
        """Take an order back."""
        self._order(point, number).unlink(missing_ok=True)

    def times_reached(self, point: str, number: int) -> int:
        """How often the point was reached."""
        mark = self._mark(point, number)
        return mark.stat().st_size if mark.exists() else 0

    def mark(self, point: str, number: int) -> None:
        """For an engine: the point is reached."""
        with self._mark(point, number).open("a") as mark:
            mark.write("x")

    def at(self, point: str, number: int) -> Iterator[float]:
        """For an engine that is there: seconds to wait, before it looks again."""
        self.mark(point, number)
        while (order := self._order(point, number)).exists():
            told = order.read_text()
            what, _, how_long = told.removeprefix("always ").partition(" ")
            if what == "hold":
                yield _LOOK_EVERY_S
                continue
            if not told.startswith("always "):
                order.unlink(missing_ok=True)
            if what == "wait":
                yield float(how_long)
            elif what == "fail":
                raise RuntimeError(f"told to fail at {point} of question {number}")
            elif what == "die":
                os._exit(3)

    def _order(self, point: str, number: int) -> Path:
        return self._folder / f"{point}-{number}.order"

    def _mark(self, point: str, number: int) -> Path:
        return self._folder / f"{point}-{number}.reached"


class AnsweringASR(ASRModel):
    """Hears the number of the question. Points: asr-load (of question 0), asr-begin, asr-end."""

    points: Points
    model_name = "answering ears"

    def load(self) -> None:
        _pass(self.points, "asr-load", 0)

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        number = pcm.num_samples - QUESTION_0_SAMPLES
        _pass(self.points, "asr-begin", number)
        _pass(self.points, "asr-end", number)
        return transcript_of(number)


class AnsweringLLM(LLMModel):
    """Answers word by word. Points: llm-load, llm-begin, llm-middle, llm-end, and llm-cancelled."""

    points: Points
    model_name = "answering mind"

    def load(self) -> None:
        _pass(self.points, "llm-load", 0)

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta, None]:
        number = _number_in(messages[-1].content)
        words = reply_to(number).split()
        await self._pass("llm-begin", number)
        for index, word in enumerate(words):
            if index == len(words) - 3:
                await self._pass("llm-middle", number)
            yield TextDelta(text=f" {word}" if index else word)
        await self._pass("llm-end", number)

    async def _pass(self, point: str, number: int) -> None:
        try:
            for wait_s in self.points.at(point, number):
                await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            self.points.mark("llm-cancelled", number)
            raise


class AnsweringTTS(TTSModel):
    """Speaks each text in two pieces. Points, in every chunk: tts-load, tts-begin, tts-middle, tts-end."""

    points: Points
    model_name = "answering voice"

    def load(self) -> None:
        _pass(self.points, "tts-load", 0)

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        number = _number_in(text)
        words = text.split()
        _pass(self.points, "tts-begin", number)
        yield _speech(" ".join(words[: len(words) // 2]))
        _pass(self.points, "tts-middle", number)
        yield _speech(" ".join(words[len(words) // 2 :]))
        _pass(self.points, "tts-end", number)


def _pass(points: Points, point: str, number: int) -> None:
    for wait_s in points.at(point, number):
        time.sleep(wait_s)


def _number_in(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0


def _speech(text: str) -> Pcm:
    return Pcm(np.full(speech_samples(text), 0.1, np.float32), SAMPLE_RATE_HZ)
