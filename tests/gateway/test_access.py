"""Who may use the gateway, and how much."""

import random
import string
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from starlette.requests import HTTPConnection

from gateway.access import Access, Caller
from gateway.errors import (
    InvalidKey,
    InvalidRequest,
    NotForClientSecrets,
    OriginRefused,
    RateLimited,
    Refused,
    TooManyRequests,
    TooManySessions,
)
from shared.errors import Misconfigured
from shared.settings import Settings

KEY, OTHER_KEY = "first-key-of-the-tests", "other-key-of-the-tests"


class Clock:
    s = 1_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locked(clock: Clock) -> Access:
    return Access(
        Settings(api_keys=f"{KEY}, {OTHER_KEY}", max_key_sessions=2, max_key_requests_per_minute=6),
        clock,
        clock,
    )


@pytest.fixture
def open_to_all() -> Access:
    return Access(Settings(max_key_sessions=1, max_key_requests_per_minute=1))


def connection(
    headers: Mapping[str, str] | None = None, *, key: str = "", subprotocols: Sequence[str] = ()
) -> HTTPConnection:
    sent = {"host": "127.0.0.1:8000", **(headers or {})}
    if key:
        sent["authorization"] = f"Bearer {key}"
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()]
    return HTTPConnection({"type": "http", "headers": encoded, "subprotocols": list(subprotocols)})


def test_a_key_of_the_settings_is_admitted(locked: Access) -> None:
    assert locked.needs_key
    assert locked.admit(connection(key=KEY)) == locked.admit(connection(key=KEY))
    assert locked.admit(connection(key=KEY)) != locked.admit(connection(key=OTHER_KEY))


def test_a_browsers_websocket_has_its_key_among_the_subprotocols(locked: Access) -> None:
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.1"]
    by_header = locked.admit(connection(key=KEY))
    assert locked.admit(connection(subprotocols=protocols), for_session=True) == by_header


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", f"{KEY}, {OTHER_KEY}", "ek_of-another"])
def test_any_other_key_is_refused(locked: Access, key: str) -> None:
    with pytest.raises(InvalidKey) as refused:
        locked.admit(connection(key=key), for_session=True)
    assert refused.value.status == 401
    assert refused.value.body["code"] == "invalid_api_key"


def test_a_refusal_does_not_repeat_the_key(locked: Access) -> None:
    with pytest.raises(InvalidKey) as refused:
        locked.admit(connection(key="a-key-with-a-typing-error"))
    assert "a-key" not in str(refused.value.body)


@pytest.mark.parametrize("scheme", ["Basic", "bearer", ""])
def test_the_header_has_the_scheme_bearer_in_any_case(locked: Access, scheme: str) -> None:
    asked = connection({"authorization": f"{scheme} {KEY}"})
    if scheme == "bearer":
        locked.admit(asked)
    else:
        with pytest.raises(InvalidKey):
            locked.admit(asked)


@pytest.mark.parametrize("keys", ["sk-test", "fünfzehn-zeichen-und-mehr", f"{KEY} short"])
def test_a_key_that_is_short_or_cannot_be_sent_is_refused_at_the_start(keys: str) -> None:
    with pytest.raises(Misconfigured, match="S2S_API_KEYS: a key has 16"):
        Access(Settings(api_keys=keys))


def test_without_keys_everybody_is_admitted_without_limits(open_to_all: Access) -> None:
    assert not open_to_all.needs_key
    with ExitStack() as sessions:
        for key in ("", "anything", "ek_anything", KEY):
            caller = open_to_all.admit(connection(key=key), for_session=True)
            sessions.enter_context(open_to_all.session(caller))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "LocalHost"])
def test_the_own_page_is_admitted_by_its_origin(open_to_all: Access, host: str) -> None:
    open_to_all.admit(connection({"host": host, "origin": f"http://{host}"}))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:9000",
        "null",
        "http://127.0.0.1:8000.evil.example",
        "http://[",
    ],
)
def test_a_page_of_another_origin_is_refused_even_without_keys(open_to_all: Access, origin: str) -> None:
    with pytest.raises(OriginRefused) as refused:
        open_to_all.admit(connection({"origin": origin}))
    assert refused.value.status == 403


def test_a_name_that_is_made_to_resolve_to_this_machine_is_not_the_own_page(open_to_all: Access) -> None:
    with pytest.raises(OriginRefused):
        open_to_all.admit(connection({"host": "evil.example:8000", "origin": "http://evil.example:8000"}))


def test_with_keys_the_own_page_may_have_any_name(locked: Access) -> None:
    page = {"host": "voice.example", "origin": "https://voice.example"}
    locked.admit(connection(page, key=KEY))
    with pytest.raises(InvalidKey):
        locked.admit(connection(page))


@pytest.mark.parametrize(
    ("allowed", "admitted"),
    [
        ("https://app.example", True),
        ("https://a.example, https://App.example/", True),
        ("*", True),
        ("https://app.example.org http://app.example", False),
    ],
)
def test_other_pages_are_admitted_if_the_settings_name_them(allowed: str, admitted: bool) -> None:
    access = Access(Settings(allowed_origins=allowed))
    asked = connection({"origin": "https://app.example"})
    if admitted:
        access.admit(asked)
    else:
        with pytest.raises(OriginRefused):
            access.admit(asked)


def test_a_client_secret_opens_sessions_until_it_expires(locked: Access, clock: Clock) -> None:
    owner = locked.admit(connection(key=KEY))
    secret = locked.create_secret(owner, 60, {"instructions": "Be brief."})
    assert secret.value.startswith("ek_")
    for _ in range(2):
        caller = locked.admit(connection(key=secret.value), for_session=True)
        assert caller == Caller(owner.key, by_client_secret=True, session={"instructions": "Be brief."})
    clock.s += 59.9
    locked.admit(connection(subprotocols=[f"openai-insecure-api-key.{secret.value}"]), for_session=True)
    clock.s += 0.2
    with pytest.raises(InvalidKey, match="expired"):
        locked.admit(connection(key=secret.value), for_session=True)


def test_a_client_secret_opens_nothing_but_sessions(locked: Access) -> None:
    secret = locked.create_secret(locked.admit(connection(key=KEY)))
    with pytest.raises(NotForClientSecrets) as refused:
        locked.admit(connection(key=secret.value))
    assert refused.value.status == 403


def test_without_keys_a_client_secret_still_brings_its_session(open_to_all: Access) -> None:
    secret = open_to_all.create_secret(Caller(), 60, {"instructions": "Be brief."})
    assert open_to_all.admit(connection(key=secret.value), for_session=True).session


@pytest.mark.parametrize("lifetime_s", [9, 7_201])
def test_a_client_secret_lives_ten_seconds_to_two_hours(locked: Access, lifetime_s: int) -> None:
    with pytest.raises(ValueError, match="10 to 7200 s"):
        locked.create_secret(Caller(), lifetime_s)


def test_every_process_with_the_same_keys_knows_a_client_secret(locked: Access, clock: Clock) -> None:
    secret = locked.create_secret(locked.admit(connection(key=OTHER_KEY)), 60, {"instructions": "Be brief."})
    elsewhere = Access(Settings(api_keys=OTHER_KEY), clock, clock)
    caller = elsewhere.admit(connection(key=secret.value), for_session=True)
    assert caller.key == elsewhere.admit(connection(key=OTHER_KEY)).key
    assert caller.session == {"instructions": "Be brief."}
    with pytest.raises(InvalidKey):
        Access(Settings(api_keys=KEY), clock, clock).admit(connection(key=secret.value), for_session=True)


@pytest.mark.parametrize("place", [3, 10, -44, -1])
def test_a_client_secret_that_was_changed_is_none(locked: Access, place: int) -> None:
    value = locked.create_secret(locked.admit(connection(key=KEY)), 60).value
    changed = list(value)
    changed[place] = "A" if value[place] != "A" else "Q"
    with pytest.raises(InvalidKey):
        locked.admit(connection(key="".join(changed)), for_session=True)


def test_a_client_secret_fits_a_header_or_is_refused(locked: Access) -> None:
    owner = locked.admit(connection(key=KEY))
    session: dict[str, JsonValue] = {"instructions": "Be brief. " * 1_000}
    assert len(locked.create_secret(owner, 60, session).value) < 6_000
    noise = "".join(random.Random(0).choices(string.ascii_letters, k=10_000))
    with pytest.raises(InvalidRequest, match="too large"):
        locked.create_secret(owner, 60, {"instructions": noise})


def test_a_key_has_so_many_sessions_at_once_and_its_client_secrets_share_them(locked: Access) -> None:
    owner, other = locked.admit(connection(key=KEY)), locked.admit(connection(key=OTHER_KEY))
    guest = locked.admit(connection(key=locked.create_secret(owner).value), for_session=True)
    with locked.session(owner):
        with locked.session(guest):
            with pytest.raises(TooManySessions) as refused, locked.session(owner):
                pass
            assert refused.value.body["code"] == "session_limit_reached"
            with locked.session(other):
                pass
        with locked.session(owner):
            pass


@pytest.mark.parametrize("keys", [KEY, ""])
def test_so_many_requests_are_under_way_at_once_with_and_without_keys(keys: str) -> None:
    access = Access(Settings(api_keys=keys, max_key_http_requests=2))
    caller = access.admit(connection(key=KEY))
    with access.http_request(caller):
        with (
            access.http_request(caller),
            pytest.raises(TooManyRequests) as refused,
            access.http_request(caller),
        ):
            pass
        assert refused.value.headers == {"Retry-After": "1"}
        with access.http_request(caller):
            pass


def test_a_session_that_fails_is_not_counted_any_more(locked: Access) -> None:
    caller = locked.admit(connection(key=KEY))
    for _ in range(3):
        with pytest.raises(ConnectionError), locked.session(caller):
            raise ConnectionError


def test_a_key_makes_so_many_requests_a_minute(locked: Access, clock: Clock) -> None:
    for _ in range(6):
        locked.admit(connection(key=KEY))
    with pytest.raises(RateLimited) as refused:
        locked.admit(connection(key=KEY))
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "10"})
    locked.admit(connection(key=OTHER_KEY))
    clock.s += 10
    locked.admit(connection(key=KEY))
    with pytest.raises(RateLimited):
        locked.admit(connection(key=KEY))


def test_requests_that_are_refused_cost_a_key_nothing(locked: Access) -> None:
    for _ in range(10):
        with pytest.raises(InvalidKey):
            locked.admit(connection(key="wrong"))
        with pytest.raises(OriginRefused):
            locked.admit(connection({"origin": "https://evil.example"}, key=KEY))
    for _ in range(6):
        locked.admit(connection(key=KEY))


LOCKED, OPEN = Access(Settings(api_keys=KEY)), Access(Settings())
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "origin", "host"]),
    st.text(st.characters(min_codepoint=1, max_codepoint=255)),
)


@given(HEADERS, st.lists(st.text(st.characters(min_codepoint=1, max_codepoint=255)), max_size=3))
def test_no_header_admits_without_a_key_or_breaks_anything(
    headers: dict[str, str], protocols: list[str]
) -> None:
    with pytest.raises(Refused):
        LOCKED.admit(connection(headers, subprotocols=protocols), for_session=True)
    try:
        OPEN.admit(connection(headers, subprotocols=protocols))
    except OriginRefused:
        assert headers.get("origin")


def test_keys_are_shown_nowhere() -> None:
    made = Settings(api_keys=KEY)
    assert KEY not in repr(made) + str(made.model_dump()) + made.model_dump_json() + str(made.environ())
    assert "S2S_API_KEYS" not in made.environ()
