"""Who may use the gateway, and how much: API keys, client secrets, origins of web pages, limits of a key."""

import hmac
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue
from starlette.requests import HTTPConnection

from gateway.client_secrets import DEFAULT_SECRET_S, SECRET_PREFIX, ClientSecret, ClientSecrets
from gateway.errors import (
    InvalidKey,
    NotForClientSecrets,
    OriginRefused,
    RateLimited,
    TooManyRequests,
    TooManySessions,
)
from shared.errors import Misconfigured
from shared.settings import Settings

KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
"""What precedes the key among the subprotocols of a WebSocket: browsers cannot set headers."""

MIN_KEY_CHARACTERS: Final = 16
_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Caller:
    """Who asks. `key` stands for the API key that counts for it, "" where the gateway has none; `session` is
    the session that its client secret was made for."""

    key: str = ""
    by_client_secret: bool = False
    session: Mapping[str, JsonValue] | None = None


class Access:
    """Admits or refuses; counts what each key uses. For one event loop; limits are those of one process.

    Without API keys everybody is admitted, and nobody is limited, except web pages of other origins: any page
    that is open in a browser could otherwise use the gateway on its machine. `now` is a monotonic clock in
    seconds, `wall_clock` seconds since 1970. Raises Misconfigured if a key is too short to be safe.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        keys = _listed(settings.api_keys.get_secret_value())
        if any(len(key) < MIN_KEY_CHARACTERS or not _KEY.fullmatch(key) for key in keys):
            raise Misconfigured(
                f"S2S_API_KEYS: a key has {MIN_KEY_CHARACTERS} or more characters of ASCII. "
                "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._keys = {_digest(key): key for key in keys}
        self._client_secrets = ClientSecrets(keys, wall_clock)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in _listed(settings.allowed_origins))
        self._settings = settings
        self._now = now
        self._sessions = Counter[str]()
        self._under_way = Counter[str]()
        self._requests: dict[str, _Allowance] = {}

    @property
    def needs_key(self) -> bool:
        """Whether the gateway has keys, so that it may be reached from other machines."""
        return bool(self._keys)

    @property
    def http_requests(self) -> int:
        """How many REST requests are under way."""
        return self._under_way.total()

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of other web pages that may use the gateway, in small letters; "*" for all."""
        return self._origins

    def admit(self, connection: HTTPConnection, *, for_session: bool = False) -> Caller:
        """Whoever sent a request, or opens a WebSocket; counted as one request of its key.

        The key is the header's (`Authorization: Bearer KEY`) or among the subprotocols. A client secret is
        admitted where `for_session`, and nowhere else. Raises Refused: OriginRefused, InvalidKey,
        NotForClientSecrets, RateLimited.
        """
        self._check_origin(connection)
        caller = self._caller(_key_of(connection))
        if caller.by_client_secret and not for_session:
            raise NotForClientSecrets("A client secret opens Realtime sessions only. Use an API key here.")
        if self.needs_key:
            self._count_request(caller.key)
        return caller

    @contextmanager
    def session(self, caller: Caller) -> Iterator[None]:
        """Count a session of the caller while the block lasts. Raises TooManySessions."""
        most = self._settings.max_key_sessions
        if self.needs_key and self._sessions[caller.key] >= most:
            raise TooManySessions(f"This key has {most} sessions, the most it may have at once. End one.")
        with _counted(self._sessions, caller.key):
            yield

    @contextmanager
    def http_request(self, caller: Caller) -> Iterator[None]:
        """Count a REST request of the caller while the block lasts. Raises TooManyRequests."""
        most = self._settings.max_key_http_requests
        if self._under_way[caller.key] >= most:
            raise TooManyRequests(f"{most} requests are under way, the most there may be.", retry_after_s=1)
        with _counted(self._under_way, caller.key):
            yield

    def create_secret(
        self,
        caller: Caller,
        lifetime_s: int = DEFAULT_SECRET_S,
        session: Mapping[str, JsonValue] | None = None,
    ) -> ClientSecret:
        """A new client secret that counts for the caller's key; its sessions begin as `session` says.

        Raises what `ClientSecrets.create` does.
        """
        return self._client_secrets.create(self._keys.get(caller.key, ""), lifetime_s, session or {})

    def _caller(self, key: str) -> Caller:
        if opened := self._client_secrets.read(key):
            counts_for = _digest(opened.key) if opened.key else ""
            return Caller(counts_for, by_client_secret=True, session=opened.session)
        if not self.needs_key:
            return Caller()
        digest = _digest(key)
        # All are compared, each in constant time, so that time says nothing about which or how much is right.
        if sum(hmac.compare_digest(digest, known) for known in self._keys):
            return Caller(digest)
        if key.startswith(SECRET_PREFIX):
            raise InvalidKey("The client secret has expired, or is of another server. Get a new one.")
        raise InvalidKey(
            "The API key is wrong. Use one of the server's S2S_API_KEYS."
            if key
            else "An API key is missing. Send the header 'Authorization: Bearer KEY'."
        )

    def _check_origin(self, connection: HTTPConnection) -> None:
        origin = connection.headers.get("origin", "").lower()  # only browsers send one
        if not origin or origin in self._origins or "*" in self._origins:
            return
        # The scheme may differ behind a proxy that ends TLS. Without keys the name must be this machine's:
        # a page of any name can have that name resolved to the loopback address (DNS rebinding).
        host = connection.headers.get("host", "").lower()
        if origin.partition("://")[2] == host and (self.needs_key or _is_loopback(host)):
            return
        raise OriginRefused(
            "A web page of this origin may not use the server. Its owner can name it in S2S_ALLOWED_ORIGINS."
        )

    def _count_request(self, key: str) -> None:
        allowance = self._requests.setdefault(
            key, _Allowance(self._settings.max_key_requests_per_minute, self._now())
        )
        if (wait_s := allowance.take(self._now())) > 0:
            raise RateLimited(
                f"This key has made {allowance.per_minute} requests in a minute, the most it may. "
                f"Try again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )


class _Allowance:
    """So many requests at once, each given back after its share of a minute."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one, and return 0; or how many seconds it takes until there is one."""
        a_second = self.per_minute / 60
        self._left = min(self.per_minute, self._left + (now_s - self._at_s) * a_second)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / a_second
        self._left -= 1
        return 0.0


@contextmanager
def _counted(counts: Counter[str], key: str) -> Iterator[None]:
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1


def _key_of(connection: HTTPConnection) -> str:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    for protocol in connection.scope.get("subprotocols", ()):
        if protocol.startswith(KEY_SUBPROTOCOL):
            return str(protocol.removeprefix(KEY_SUBPROTOCOL))
    return ""


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _listed(text: str) -> list[str]:
    return text.replace(",", " ").split()
