"""Sums in spoken or written English, answered in words."""

import re
from fractions import Fraction

TOO_LARGE = 10**15

_OPERATORS = {
    "plus": r"plus|\+|added to",
    "minus": "minus|-|less",
    "times": r"times|multiplied by|\*|×|x",
    "divided by": "divided by|over|/|÷",
}
_SOUNDS_LIKE = {"to": 2, "too": 2, "for": 4, "fore": 4, "won": 1, "ate": 8, "a": 8, "tree": 3, "well": 12}
"""What a recogniser writes for a number; believed only inside a sum."""

_NUMBER = rf"(?:(?:minus|negative|-) )?(?:\d+(?:\.\d+)?|{'|'.join(_SOUNDS_LIKE)})"
_OPERATOR = "|".join(_OPERATORS.values())
_SUM = re.compile(
    r"(?:^|(?:what|what's|is|are|much|calculate|me|the|and|so|please) )"
    rf"({_NUMBER}(?: (?:{_OPERATOR}) {_NUMBER})+)(?: (?:please|equals?|makes?|is))*$"
)
"""Only what stands alone is a sum: not "the root of nine plus one", and not "two plus two squared"."""

_YEAR = re.compile(r"\b(1\d|20) (\d\d)\b")
_ARTICLE = re.compile(r"\ba (?=\d)")


def answer_sum(text: str) -> str | None:
    """The answer to the sum in an utterance ("Two plus two is four."), None if there is none.

    Words are in lower case with single spaces between them, numbers in words or digits.
    """
    from text_to_num import alpha2digit

    found = _SUM.search(_ARTICLE.sub("", _YEAR.sub(r"\1\2", alpha2digit(text, "en", threshold=0))))
    if not found:
        return None
    parts = re.findall(rf"(?:^|({_OPERATOR}) )({_NUMBER})(?= |$)", found[1])
    numbers = [_value(number) for _, number in parts]
    operators = [_name(operator) for operator, _ in parts[1:]]
    question = number_in_words(numbers[0])
    for operator, number in zip(operators, numbers[1:], strict=True):
        question += f" {operator} {number_in_words(number)}"
    try:
        reply = f"{question} is {number_in_words(_result(numbers, operators))}."
    except ZeroDivisionError:
        reply = f"{question} has no answer: nothing can be divided by zero."
    return reply[0].upper() + reply[1:]


def in_words(number: int, to: str = "cardinal") -> str:
    """A whole number in words; `to` says as what: "cardinal", "ordinal" or "year"."""
    from num2words import num2words

    words: str = num2words(number, to=to)
    return words.replace(",", "")  # a voice pauses there


def number_in_words(number: Fraction) -> str:
    """A number in words, rounded to what is worth saying ("about three point three three")."""
    if number < 0:
        return f"minus {number_in_words(-number)}"
    if number >= TOO_LARGE:
        return "a number too large to say"
    places = next((places for places in (2, 4) if round(number, places)), 6)
    rounded = number if round(number, 6) == number else round(number, places)
    whole, fraction = divmod(round(rounded * 10**6), 10**6)
    digits = f"{fraction:06d}".rstrip("0")
    point = " point " if digits else ""
    return (
        ("" if rounded == number else "about ")
        + in_words(whole)
        + point
        + " ".join(map(in_words, map(int, digits)))
    )


def _value(number: str) -> Fraction:
    *sign, digits = number.split()
    value = Fraction(_SOUNDS_LIKE.get(digits, digits))
    return -value if sign else value


def _name(operator: str) -> str:
    return next(name for name, pattern in _OPERATORS.items() if re.fullmatch(pattern, operator))


def _result(numbers: list[Fraction], operators: list[str]) -> Fraction:
    """Times and divided by within each term, left to right; then the terms are added up."""
    terms = [numbers[0]]
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator == "times":
            terms[-1] *= number
        elif operator == "divided by":
            terms[-1] /= number
        else:
            terms.append(number if operator == "plus" else -number)
    return sum(terms, start=Fraction(0))
