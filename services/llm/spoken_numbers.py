"""Numbers as English speech has them: read from words or digits, and said in words."""

from collections.abc import Sequence
from fractions import Fraction

TOO_LARGE = 10**15
"""From here on, numbers are not said in words."""

# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_SCALES = {"trillion": 10**12, "billion": 10**9, "million": 10**6, "thousand": 1000}
_VALUE = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * tens for tens, word in enumerate(_TENS, start=2)
}
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def read_number(words: Sequence[str], start: int) -> tuple[Fraction, int] | None:
    """The number that begins at `words[start]`, and the index after it; None if none begins there.

    Words are lower case: digits ("12", "2.5") or cardinals ("a hundred and five", "one point five"),
    "minus", "-" or "negative" before them.
    """
    if start < len(words) and words[start] in ("minus", "-", "negative"):
        unsigned = _read_unsigned(words, start + 1)
        return (-unsigned[0], unsigned[1]) if unsigned else None
    return _read_unsigned(words, start)


def say_number(number: Fraction) -> str:
    """The number in words, rounded to what is worth saying ("about three point three three")."""
    if number < 0:
        return f"minus {say_number(-number)}"
    if number >= TOO_LARGE:
        return "a number too large to say"
    places = 6 if round(number, 6) == number else next((n for n in (2, 4, 6) if round(number, n)), 0)
    rounded = round(number, places)
    whole, fraction = divmod(round(rounded * 10**places), 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0") if fraction else ""
    point = " point " + " ".join(_ONES[int(digit)] for digit in digits) if digits else ""
    return ("" if rounded == number else "about ") + say_integer(whole) + point


def say_integer(number: int) -> str:
    """A whole number from 0 to 10¹⁵ - 1 in words: "two thousand and five"."""
    for word, scale in _SCALES.items():
        if number >= scale:
            head = f"{say_integer(number // scale)} {word}"
            return _joined(head, number % scale)
    if number >= 100:
        return _joined(f"{_ONES[number // 100]} hundred", number % 100)
    if number >= 20:
        tens = _TENS[number // 10 - 2]
        return f"{tens} {_ONES[number % 10]}" if number % 10 else tens
    return _ONES[number]


def say_ordinal(number: int) -> str:
    """The rank in words, from 1: "twenty third"."""
    *head, last = say_integer(number).split()
    ordinal = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*head, ordinal])


def _joined(head: str, rest: int) -> str:
    if not rest:
        return head
    return f"{head} {'and ' if rest < 100 else ''}{say_integer(rest)}"


def _read_unsigned(words: Sequence[str], start: int) -> tuple[Fraction, int] | None:
    total, end, limit = Fraction(0), start, TOO_LARGE
    while group := _read_below_thousand(words, _after_and(words, start, end)):
        value, after = group
        scale = _SCALES.get(words[after], 1) if after < len(words) else 1
        if scale >= limit:
            break
        total, end, limit = total + value * scale, after + (scale > 1), scale
        if scale == 1:
            break
    if end == start:
        return None
    return _with_decimals(words, total, end)


def _after_and(words: Sequence[str], start: int, index: int) -> int:
    """`index`, or past an "and" there that may stand inside a number ("a thousand and one")."""
    return index + (start < index < len(words) and words[index] == "and")


def _read_below_thousand(words: Sequence[str], start: int) -> tuple[Fraction, int] | None:
    if start >= len(words):
        return None
    if _is_digits(words[start]):
        return Fraction(words[start]), start + 1
    value, end = _read_below_hundred(words, start)
    if end < len(words) and words[end] == "hundred" and 0 < value < 100:
        hundreds, end = value, end + 1
        value, rest_end = _read_below_hundred(words, _after_and(words, start, end))
        value, end = hundreds * 100 + value, rest_end if value else end
    return (Fraction(value), end) if end > start else None


def _read_below_hundred(words: Sequence[str], start: int) -> tuple[int, int]:
    """The value and the index after it; (0, start) if there is none."""
    here, after = (*words[start : start + 2], "", "")[:2]
    if here == "a" and after in ("hundred", *_SCALES):
        return 1, start + 1
    value = _VALUE.get(here)
    if value is None:
        return 0, start
    if here in _TENS and 0 < (unit := _VALUE.get(after, 0)) < 10:
        return value + unit, start + 2
    return value, start + 1


def _with_decimals(words: Sequence[str], whole: Fraction, end: int) -> tuple[Fraction, int]:
    """With what follows "point", digit by digit."""
    if end >= len(words) or words[end] != "point":
        return whole, end
    digits = ""
    for word in words[end + 1 :]:
        if not (_VALUE.get(word, 10) < 10 or (len(word) == 1 and word.isdecimal())):
            break
        digits += word if word.isdecimal() else str(_VALUE[word])
    if not digits:
        return whole, end
    return whole + Fraction(int(digits), 10 ** len(digits)), end + 1 + len(digits)


def _is_digits(word: str) -> bool:
    return word[0].isdecimal()
