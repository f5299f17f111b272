"""Turns kept in a folder: what was said and answered, as audio and as text, and where the time went."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from client.errors import OutputNotWritten
from conversation.reply import SpokenTurn
from shared.audio.codec import encode_wav
from shared.audio.pcm import join


class SavedTurns:
    """Writes three files a turn: turn-001-question.mp3, turn-001-reply.wav and turn-001.json.

    A thread writes them; leaving waits for it. No file that is there is overwritten, whoever wrote it. A turn
    that cannot be written is reported to `on_problem`, from that thread: the conversation is worth more.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()

    def save(self, turn: SpokenTurn) -> None:
        """Write a turn, soon."""
        self._writer.submit(self._write, turn)

    def _write(self, turn: SpokenTurn) -> None:
        texts = {"transcript": turn.transcript, "reply": turn.reply, "played": turn.played}
        fields = texts | {"record": turn.record.model_dump(mode="json")}
        try:
            name = self._write_question(turn.question.mp3)
            if turn.speech:
                (self._folder / f"{name}-reply.wav").write_bytes(encode_wav(join(turn.speech)))
            (self._folder / f"{name}.json").write_text(json.dumps(fields, indent=2) + "\n")
        except OSError as error:
            self._on_problem(f"Turns cannot be saved in {self._folder}: {error.strerror}.")

    def _write_question(self, mp3: bytes) -> str:
        """Returns the turn's name, which nobody else has: another conversation may save here too."""
        while True:
            name = f"turn-{next(self._numbers):03d}"
            try:
                with (self._folder / f"{name}-question.mp3").open("xb") as file:
                    file.write(mp3)
                return name
            except FileExistsError:
                continue
