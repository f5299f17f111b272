"""How much encoded audio went over the line, and what it stands for."""

from typing import Annotated

from pydantic import Field

from shared.payloads import Mp3Audio, Payload, Speech

Count = Annotated[int, Field(ge=0, le=10**15)]
"""A number of bytes or events; what claims more is damaged."""


class Traffic(Payload):
    """Encoded audio that went to the pipeline and came from it, and the 16-bit PCM that it stands for.

    Speech that stays in this process unencoded is no traffic.
    """

    sent_bytes: Count = 0
    sent_pcm_bytes: Count = 0
    received_bytes: Count = 0
    received_pcm_bytes: Count = 0

    @classmethod
    def sent(cls, audio: Speech) -> "Traffic":
        """Of an utterance."""
        if not isinstance(audio, Mp3Audio):
            return cls()
        return cls(sent_bytes=len(audio.mp3), sent_pcm_bytes=2 * audio.num_samples)

    @classmethod
    def received(cls, audio: Speech) -> "Traffic":
        """Of a piece of a reply."""
        if not isinstance(audio, Mp3Audio):
            return cls()
        return cls(received_bytes=len(audio.mp3), received_pcm_bytes=2 * audio.num_samples)

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(**{name: count + getattr(other, name) for name, count in self})
