"""Turns kept in a folder: what was said and answered, as audio and as text, and where the time went."""

import asyncio
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Self

from client.errors import OutputNotWritten
from conversation.reply import SpokenTurn
from shared.audio.pcm import encode_wav, join, resample
from shared.errors import SpeechError


class SavedTurns:
    """Writes three files a turn: turn-001-question.mp3, turn-001-reply.wav and turn-001.json.

    A thread writes them; leaving waits for it. An existing file is never overwritten, whoever wrote it.
    `on_problem` is called for a turn that cannot be written: the conversation is worth more.

    Raises OutputNotWritten if the folder cannot be created.
    """

    def __init__(self, folder: Path, on_problem: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_problem = on_problem
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = [re.match(r"turn-(\d+)\b", path.name) for path in folder.iterdir()]
        except OSError as error:
            raise OutputNotWritten(f"Folder {folder} cannot be created: {error.strerror}.") from None
        self._numbers = count(max((int(name[1]) for name in taken if name), default=0) + 1)
        self._writer = ThreadPoolExecutor(1, "saved-turns")
        self._writing: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*self._writing, return_exceptions=True)
        self._writer.shutdown()

    def save(self, turn: SpokenTurn) -> None:
        """Write a turn, soon."""
        writing = asyncio.get_running_loop().run_in_executor(self._writer, self._write, turn)
        self._writing.add(writing)
        writing.add_done_callback(self._written)

    def _written(self, writing: "asyncio.Future[None]") -> None:
        self._writing.discard(writing)
        try:
            writing.result()
        except SpeechError as error:
            self._on_problem(error.message)

    def _write(self, turn: SpokenTurn) -> None:
        texts = {"transcript": turn.transcript, "reply": turn.reply, "played": turn.played}
        fields = texts | {"record": turn.record.model_dump(mode="json")}
        try:
            name = self._write_question(turn.question.mp3)
            if turn.speech:
                rate_hz = turn.speech[0].sample_rate_hz  # another TTS may have taken over
                reply = join([resample(segment, rate_hz) for segment in turn.speech])
                (self._folder / f"{name}-reply.wav").write_bytes(encode_wav(reply))
            (self._folder / f"{name}.json").write_text(json.dumps(fields, indent=2) + "\n")
        except OSError as error:
            raise OutputNotWritten(f"Turns cannot be saved in {self._folder}: {error.strerror}.") from None

    def _write_question(self, mp3: bytes) -> str:
        """Returns the turn's name, which no other conversation that saves here gets."""
        while True:
            name = f"turn-{next(self._numbers):03d}"
            try:
                with (self._folder / f"{name}-question.mp3").open("xb") as file:
                    file.write(mp3)
                return name
            except FileExistsError:
                continue
