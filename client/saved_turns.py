"""Turns kept in a folder: what was said and answered, as sound and as text, and where the time went."""

import json
from pathlib import Path

from client.errors import OutputNotWritten
from conversation.conversation import SpokenTurn
from shared.audio.pcm import encode_wav, join


class SavedTurns:
    """Writes three files a turn: turn-001-question.mp3, turn-001-reply.wav and turn-001.json. Numbers that
    are there already are not used again."""

    def __init__(self, folder: Path) -> None:
        """Raises OutputNotWritten if the folder cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = [
                int(path.stem[5:]) for path in folder.glob("turn-[0-9]*.json") if path.stem[5:].isdigit()
            ]
        except OSError as error:
            raise OutputNotWritten(f"Folder {folder} cannot be made: {error.strerror}.") from None
        self._next = max(taken, default=0) + 1

    def save(self, turn: SpokenTurn) -> None:
        """Write a turn. Raises OutputNotWritten."""
        name = f"turn-{self._next:03d}"
        self._next += 1
        texts = {"transcript": turn.transcript, "reply": turn.reply, "heard": turn.heard}
        told = texts | {"record": turn.record.model_dump(mode="json")}
        try:
            (self._folder / f"{name}-question.mp3").write_bytes(turn.question.mp3)
            if turn.speech:
                (self._folder / f"{name}-reply.wav").write_bytes(encode_wav(join(turn.speech)))
            (self._folder / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise OutputNotWritten(f"Turns cannot be saved in {self._folder}: {error.strerror}.") from None
