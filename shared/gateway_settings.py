"""The settings of the gateway: who may use it, and how much. They are settings like all others, see there."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class GatewaySettings(BaseSettings):
    """The gateway's part of the settings."""

    api_keys: SecretStr = SecretStr("")
    """The keys that open the gateway, 16 characters or more each, between spaces or commas. Without one it
    serves this machine alone, and everybody on it. Nothing shows them; on Modal they come from a Secret."""
    allowed_origins: str = ""
    """Origins of web pages that may use the gateway besides its own page ("https://app.example"), between
    spaces or commas; "*" is all of them."""
    max_key_sessions: int = Field(default=20, ge=1)
    """Realtime sessions at once of one key."""
    max_key_requests_per_minute: int = Field(default=300, ge=1)
    """Requests a minute of one key, an opened session being one."""
    max_key_http_requests: int = Field(default=32, ge=1)
    """REST requests at once of one key, or of all clients where there are no keys."""
    max_sessions: int = Field(default=100, ge=1)
    """Realtime sessions at once, of all keys."""
    max_session_s: float = Field(default=3_600.0, gt=0.0)
    """A Realtime session is closed after this long, as OpenAI does after an hour."""
    max_session_items: int = Field(default=1_000, ge=2, le=1_000)
    """Items of a Realtime session's conversation; a client deletes some, or begins another session."""
    max_unsent_characters: int = Field(default=4 * 2**20, ge=2**16)
    """A Realtime session whose client does not read is held back once so much waits to be sent (a minute of
    speech is 3.8 million characters)."""
    drain_s: float = Field(default=30.0, ge=0.0)
    """How long turns under way may take to end when the gateway is stopped."""
    voices: str = ""
    """Which of the TTS model's voices stand for those that clients name, between spaces or commas
    ("alloy=af_heart marin=bf_emma bm_george", the last by its own name). For any other the model chooses."""
    max_upload_bytes: int = Field(default=25 * 2**20, ge=1)
    """Maximum size of an uploaded audio file, as at OpenAI."""
    upload_timeout_s: float = Field(default=60.0, gt=0.0)
    """Time-out of a request's body."""
    slow_reader_timeout_s: float = Field(default=30.0, gt=0.0)
    """A client that takes nothing of its answer for this long is disconnected."""

    def gateway_voice(self, name: str) -> str | None:
        """The TTS model's voice for the one that a client names; None is the model's own choice."""
        pairs = (one.partition("=") for one in self.voices.replace(",", " ").split())
        return {theirs.lower(): ours or theirs for theirs, _, ours in pairs}.get(name.lower())
