"""The settings of the gateway: who may use it, and how much. They are settings like all others, see there."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """The gateway's part of the settings."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

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
    max_client_secrets: int = Field(default=1_000, ge=1)
    """Client secrets that are valid at once."""
