"""JSON of clients, before it is validated."""

from typing import Any, Final

from pydantic_core import from_json

MAX_LIST_ITEMS: Final = 4_000
"""Of all lists of a message together. Each item that is wrong costs validation 10 to 30 µs with the GIL held,
which for a megabyte of them was 10 s (measured). Honest messages have some hundreds."""


def bounded_json(text: str | bytes) -> Any:
    """The values that JSON stands for. Raises ValueError if it is none, or has more items in lists than
    MAX_LIST_ITEMS."""
    value = from_json(text)
    items, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            items += len(one)
            if items > MAX_LIST_ITEMS:
                raise ValueError(f"its lists have more than {MAX_LIST_ITEMS:,} items")
            left.extend(one)
    return value
