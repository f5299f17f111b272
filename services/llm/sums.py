"""Sums in spoken or written English: found in an utterance, worked out exactly, said in words."""

from collections.abc import Sequence
from fractions import Fraction

from services.llm.spoken_numbers import read_number, say_number

_OPERATORS = {
    ("plus",): "plus",
    ("+",): "plus",
    ("added", "to"): "plus",
    ("minus",): "minus",
    ("-",): "minus",
    ("less",): "minus",
    ("times",): "times",
    ("multiplied", "by"): "times",
    ("*",): "times",
    ("×",): "times",
    ("x",): "times",
    ("divided", "by"): "divided by",
    ("over",): "divided by",
    ("/",): "divided by",
    ("÷",): "divided by",
}
_SOUNDS_LIKE = {"to": 2, "too": 2, "for": 4, "fore": 4, "won": 1, "ate": 8, "a": 8, "tree": 3, "well": 12}
"""What a recogniser writes for a number; believed only inside a sum."""

_BEFORE_A_SUM = frozenset(
    ("what", "what's", "is", "how", "much", "one", "calculate", "and", "the", "tell", "me", "are")
)
"""Words after which a sum may be made of words that only sound like numbers."""


def answer_sum(words: Sequence[str]) -> str | None:
    """The answer to the first sum in an utterance ("Two plus two is four."), None if there is none.

    Words are lower case, numbers in words or digits. Times and divided by come before plus and minus.
    """
    for start in range(len(words)):
        numbers, operators, certain = _read_sum(words, start)
        if operators and (certain or _BEFORE_A_SUM.issuperset(words[:start])):
            return _said(numbers, operators)
    return None


def _read_sum(words: Sequence[str], start: int) -> tuple[list[Fraction], list[str], bool]:
    """The numbers and the operators between them from `start` on, and whether any number is certain."""
    numbers: list[Fraction] = []
    operators: list[str] = []
    certain, pending, index = False, None, start
    while operand := _read_operand(words, index):
        number, index, is_certain = operand
        certain = certain or is_certain
        numbers.append(number)
        if pending:
            operators.append(pending)
        pending, index = _read_operator(words, index)
        if not pending:
            break
    return numbers, operators, certain


def _read_operand(words: Sequence[str], index: int) -> tuple[Fraction, int, bool] | None:
    if read := read_number(words, index):
        return (*read, True)
    if index < len(words) and words[index] in _SOUNDS_LIKE:
        return Fraction(_SOUNDS_LIKE[words[index]]), index + 1, False
    return None


def _read_operator(words: Sequence[str], index: int) -> tuple[str | None, int]:
    for length in (2, 1):
        operator = _OPERATORS.get(tuple(words[index : index + length]))
        if operator:
            return operator, index + length
    return None, index


def _said(numbers: list[Fraction], operators: list[str]) -> str:
    question = say_number(numbers[0])
    for operator, number in zip(operators, numbers[1:], strict=True):
        question += f" {operator} {say_number(number)}"
    question = question[0].upper() + question[1:]
    try:
        return f"{question} is {say_number(_worked_out(numbers, operators))}."
    except ZeroDivisionError:
        return f"{question} has no answer: nothing can be divided by zero."


def _worked_out(numbers: list[Fraction], operators: list[str]) -> Fraction:
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
