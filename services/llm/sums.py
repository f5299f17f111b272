"""Sums of two numbers in words or digits, as people say them and recognisers write them."""

import operator
import re
from fractions import Fraction

_TOO_LARGE = 10**15
_OPERATORS = {
    "plus": (r"plus|\+|added to", operator.add),
    "minus": ("minus|-|less", operator.sub),
    "times": (r"times|multiplied by|\*|×|x", operator.mul),
    "divided by": ("divided by|over|/|÷", operator.truediv),
    "percent of": ("(?:percent|per cent|%) of", lambda percentage, whole: percentage * whole / 100),
}
_SOUNDS_LIKE = {"to": 2, "too": 2, "for": 4, "fore": 4, "won": 1, "ate": 8, "a": 8, "tree": 3, "well": 12}
"""What a recogniser writes for a number; believed only inside a sum."""

_ROUND_NUMBERS = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
"""What Whisper writes as a word even after digits: "3 million"."""

_NUMBER = rf"(?:(?:minus|negative|-) )?(?:\d+(?:\.\d+)?|{'|'.join(_SOUNDS_LIKE)})"
_SUM = re.compile(
    r"(?:^|(?:what|what's|is|are|does|much|calculate|me|the|(?<!\d )and|so|okay|ok|please) )"
    rf"({_NUMBER}) ({'|'.join(pattern for pattern, _ in _OPERATORS.values())}) ({_NUMBER})"
    r"(?: (?:please|equals?|equal to|makes?|is|what|thanks|thank you))*$"
)
"""Only what stands alone is a sum: not "the root of nine plus one", and not "two plus two squared"."""


def answer_sum(words: str) -> str | None:
    """The answer to a sum of two numbers, as text ("Two plus two is four."), None if it is none.

    `words` are lower-case words, digits and the signs of sums with single spaces between them.
    """
    found = _SUM.search(_in_digits(words))
    if not found:
        return None
    one, other = _value(found[1]), _value(found[3])
    name = next(name for name, (pattern, _) in _OPERATORS.items() if re.fullmatch(pattern, found[2]))
    question = f"{in_words(one)} {name} {in_words(other)}".capitalize()
    if name == "divided by" and not other:
        return f"{question} has no answer: nothing can be divided by zero."
    result = _OPERATORS[name][1](one, other)
    rounded = round(result, 2)
    return f"{question} is {'' if rounded == result else 'about '}{in_words(rounded)}."


def _in_digits(words: str) -> str:
    from text_to_num import alpha2digit

    names = "|".join(_ROUND_NUMBERS)
    words = re.sub(rf"\b(\d+(?:\.\d+)?) ({names})\b", lambda found: _product(found[1], found[2]), words)
    return re.sub(r"\ba (?=\d)", "", alpha2digit(words, "en", threshold=0))


def _product(number: str, name: str) -> str:
    product = Fraction(number) * _ROUND_NUMBERS[name]
    return str(product if product.denominator == 1 else float(product))


def _value(number: str) -> Fraction:
    *sign, digits = number.split()
    value = Fraction(_SOUNDS_LIKE.get(digits, digits))
    return -value if sign else value


def in_words(number: int | Fraction, to: str = "cardinal") -> str:
    """A number in words; `to` is the form: "cardinal", "ordinal" or "year"."""
    from num2words import num2words

    if not -_TOO_LARGE < number < _TOO_LARGE:
        return "a number too large to say"
    exact = int(number) if number == int(number) else float(number)
    words: str = num2words(exact, to=to)
    return words.replace(",", "")  # a voice pauses there
