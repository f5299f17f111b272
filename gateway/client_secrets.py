"""Client secrets: keys for somebody else's browser, which expire, and say what session they open.

They are signed, not stored: every process with the same API keys knows them, and whatever their number, they
take no memory. What they say can be read by whoever has one, as the session's first event says it too.
"""

import hashlib
import hmac
import json
import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from pydantic import JsonValue

from gateway.errors import InvalidRequest

SECRET_PREFIX: Final = "ek_"
MIN_SECRET_S: Final = 10
MAX_SECRET_S: Final = 7_200
DEFAULT_SECRET_S: Final = 600
"""Lifetimes of a client secret, as OpenAI has them."""

_MAX_CONTENT_BYTES: Final = 4_000
"""A header line has at most 8 KiB in the library websockets, on either side; base64 adds a third."""


@dataclass(frozen=True)
class ClientSecret:
    """`value` opens any number of sessions until `expires_at` (seconds since 1970)."""

    value: str
    expires_at: int


class Opened(NamedTuple):
    """What a valid secret says: whose API key it counts for, and how its sessions begin."""

    key: str
    session: Mapping[str, JsonValue]


class ClientSecrets:
    """Makes and reads the secrets of these API keys, or of this process alone where there are none ("").

    `now` is in seconds since 1970, the same on all machines.
    """

    def __init__(self, keys: Iterable[str], now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._signing_keys = {key: _signing_key(key) for key in keys} or {"": secrets.token_bytes(32)}

    def create(self, key: str, lifetime_s: int, session: Mapping[str, JsonValue]) -> ClientSecret:
        """A new one.

        Raises ValueError if the lifetime is not MIN_SECRET_S to MAX_SECRET_S, InvalidRequest if the session
        is too large.
        """
        if not MIN_SECRET_S <= lifetime_s <= MAX_SECRET_S:
            raise ValueError(f"a client secret lives {MIN_SECRET_S} to {MAX_SECRET_S} s, not {lifetime_s}")
        expires_at = int(self._now()) + lifetime_s
        content = zlib.compress(json.dumps([expires_at, session]).encode())
        if len(content) > _MAX_CONTENT_BYTES:
            raise InvalidRequest(
                "The session is too large for a client secret. Send a part of it by session.update.",
                param="session",
            )
        signature = hmac.digest(self._signing_keys[key], content, "sha256")
        return ClientSecret(f"{SECRET_PREFIX}{_encoded(content)}.{_encoded(signature)}", expires_at)

    def read(self, value: str) -> Opened | None:
        """What a secret says; None if it is none of these keys, or has expired."""
        if not value.startswith(SECRET_PREFIX):
            return None
        try:
            content, signature = map(_decoded, value.removeprefix(SECRET_PREFIX).split("."))
        except ValueError:
            return None
        for key, signing_key in self._signing_keys.items():
            if hmac.compare_digest(hmac.digest(signing_key, content, "sha256"), signature):
                expires_at, session = json.loads(zlib.decompress(content))
                return Opened(key, session) if expires_at > self._now() else None
        return None


@cache
def _signing_key(key: str) -> bytes:
    """By a slow function (some 50 ms), so that nobody finds a weak API key by trying many on a secret."""
    return hashlib.scrypt(key.encode(), salt=b"speech-to-speech client secrets", n=2**14, r=8, p=1)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
