"""JSON of clients is read only if it cannot take long to validate."""

import json
from typing import Any

import pytest

from gateway.bounded_json import MAX_LIST_ITEMS, bounded_json


@pytest.mark.parametrize("value", [None, 5, "text", [], {"a": [1, {"b": [2]}]}, list(range(MAX_LIST_ITEMS))])
def test_what_is_honest_is_read(value: Any) -> None:
    assert bounded_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        [0] * (MAX_LIST_ITEMS + 1),
        {"a": {"b": [0] * (MAX_LIST_ITEMS + 1)}},
        [[0] * 100 for _ in range(MAX_LIST_ITEMS // 100)],
        {"a": [0] * MAX_LIST_ITEMS, "b": [0]},
    ],
)
def test_more_items_in_all_lists_together_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="more than 4,000 items"):
        bounded_json(json.dumps(value))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, "nonsense"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        bounded_json(text)
