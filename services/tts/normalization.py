"""Written English as it is spoken: numbers, money, dates, times, units and abbreviations in words.

Most of it is the library normt2s; the rules here are for what it leaves or reads wrong (0.7.0). Roman
numerals and acronyms (Henry VIII, NASA) stay as they are: the engines read them.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normt2s import Normalizer

PACKAGE = "normt2s==0.7.0"
"""The library, for an engine's spec."""

MODULE = "normt2s"


def in_words(text: str) -> str:
    """An English text without digits, each number as it is read aloud in its place. Never fails; what it
    does not know is read digit by digit."""
    written = "".join(map(_with_plain_digits, text.replace("⁄", "/")))
    for pattern, spoken in _RULES:
        written = pattern.sub(spoken, written)
    words = _DIGITS.sub(_left_over, _library().normalize(written))
    return " ".join(words.replace(".m..", ".m.").split())


def _with_plain_digits(char: str) -> str:
    """Digits of other scripts and typographic ones as ASCII; a backslash as a space."""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if char.isnumeric() and char not in _READ_BY_LIBRARY:
        plain = unicodedata.normalize("NFKC", char).replace("⁄", "/")
        return f" {plain}" if "/" in plain else plain
    return " " if char == "\\" else char  # before a word, the library takes it for LaTeX


@cache
def _library() -> "Normalizer":
    from normt2s import Normalizer
    from normt2s.langs.en import English

    class Spoken(English):  # type: ignore[misc]
        """With more words after which a number is a year, and without an "a" that could be an article."""

        year_prepositions = (*English.year_prepositions, "of", "to", "and", "by", "through")

        def time(self, hour: int, minute: int, suffix: str | None) -> str:
            words: str = super().time(hour, minute, suffix)
            return words.replace(" a m", " a.m.").replace(" p m", " p.m.")

    library = Normalizer(Spoken(), latex="keep")
    for written, singular, plural in _UNITS:
        library.add_unit(written, singular, plural)
    for sign, one, many in _CURRENCIES:
        library.add_currency(sign, (one, many), ("cent", "cents"))
    for written, spoken in _ABBREVIATIONS.items():
        library.add_abbreviation(written, spoken, capitalized=False)
    return library


_READ_BY_LIBRARY = "½¼¾²³"

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_MONTH = "(" + "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS).replace("Sep(", "Sept?(") + r")\.?"

_UNITS = (
    ("mph", "mile per hour", "miles per hour"), ("rpm", "revolution per minute", "revolutions per minute"),
    ("fps", "frame per second", "frames per second"), ("km²", "square kilometer", "square kilometers"),
    ("hr", "hour", "hours"), ("hrs", "hour", "hours"), ("mins", "minute", "minutes"),
    ("sec", "second", "seconds"), ("secs", "second", "seconds"), ("yrs", "year", "years"),
    ("tsp", "teaspoon", "teaspoons"), ("tbsp", "tablespoon", "tablespoons"),
    ("Mbps", "megabit per second", "megabits per second"), ("°", "degree", "degrees"),
    ("Gbps", "gigabit per second", "gigabits per second"), ("sq ft", "square foot", "square feet"),
)  # fmt: skip
_CURRENCIES = (("₹", "rupee", "rupees"), ("CHF", "franc", "francs"), ("CAD", "dollar", "dollars"))
_ABBREVIATIONS = {
    "Mt.": "Mount", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "Co.": "Company",
    "Corp.": "Corporation", "Bros.": "Brothers", "Gov.": "Governor", "Sen.": "Senator", "Gen.": "General",
    "Rep.": "Representative", "Capt.": "Captain", "Lt.": "Lieutenant", "Sgt.": "Sergeant",
    "Col.": "Colonel", "Rev.": "Reverend", "Ms.": "Miz", "Vol.": "volume", "Fig.": "figure",
    "Dept.": "department", "est.": "established", "w/": "with", "w/o": "without", "50/50": "fifty fifty",
    "9/11": "nine eleven",
}  # fmt: skip


def _month(written: str) -> str:
    return next(name for name in _MONTHS if name.startswith(written[:3]))


def _date(year: str, month: int, day: int, written: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return written
    century = "" if len(year) == 4 else "20" if year < "70" else "19"
    return f"{_MONTHS[month - 1]} {day}, {century}{year}"


def _slashed_date(date: re.Match[str]) -> str:
    """As in the United States, unless that cannot be."""
    first, second = int(date[1]), int(date[2])
    month, day = (first, second) if first <= 12 else (second, first)
    return _date(date[3], month, day, date[0])


def _one_by_one(digits: re.Match[str]) -> str:
    """Digits in groups, each digit by itself: a telephone number."""
    groups = (" ".join(group) for group in re.findall(r"\d+", digits[0]))
    return ("plus " if digits[0].startswith("+") else "") + ", ".join(groups)


_SCALES = {"k": "thousand", "m": "million", "b": "billion", "t": "trillion"}


def _decade(decade: re.Match[str]) -> str:
    tens: str = _library().lang.cardinal(int(decade[2]))
    return f"{decade[1] or ''}{tens[:-1]}ies"


_NUMBER_END = r"(\d(?:st|nd|rd|th)?|%|\d ?[ap]\.?m\.?)"

_Spoken = str | Callable[[re.Match[str]], str]

_RULES: tuple[tuple[re.Pattern[str], _Spoken], ...] = tuple(
    (re.compile(pattern), spoken)
    for pattern, spoken in (
        # Dates
        (r"(?<![\w/-])(\d{4})-(\d\d)-(\d\d)(?![\w-])", lambda d: _date(d[1], int(d[2]), int(d[3]), d[0])),
        (r"(?<![\w/.])(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?![\w/])", _slashed_date),
        (r"(?<![\w.])(\d\d?)\.(\d\d?)\.(\d{4})(?!\w)", lambda d: _date(d[3], int(d[2]), int(d[1]), d[0])),
        (rf"\b{_MONTH} (?=\d)", lambda m: f"{_month(m[1])} "),
        (rf"(?i:\b(the ))?(?<![\w$€£#.,:/-])(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}(?![\w-])",
         lambda d: f"{d[1] or 'the '}{d[2]}th of {_month(d[3])}"),
        (r"\b((?i:the|his|her|my|your|our|their|early|late|mid)[ -])['’]?([2-9]0)s\b", _decade),
        (r"(?<!\w)()['’]([2-9]0)s\b", _decade),
        (r"(?<![\w$€£.,])(\d{1,3})s\b", r"\1 s"),  # seconds
        # Telephone numbers, and others of many groups
        (r"(?<![\w.,/-])\+\d[\d ().-]{5,}\d(?!\w)", _one_by_one),
        (r"(?<![\w.,/-])(?:\(\d{3}\) ?|\d{3}[-. ])?\d{3}[-.]\d{4}(?![\w-])", _one_by_one),
        (r"(?<![\w.,/-])\d+(?:-\d+){2,}(?![\w-])", _one_by_one),
        (r"(?<![\w.,/-])0\d\d+(?: \d\d+)+(?![\w-])", _one_by_one),
        (r"(?<=[Cc]all |[Dd]ial )\d{3,}\b(?![.,:]?\d)", _one_by_one),
        # Amounts
        (r"(?<=\d),(?=\d{1,2}\s?[€%])", "."),
        (r"([$€£]\d[\d,.]*) ?([kKmMbBtT])n?\b", lambda m: f"{m[1]} {_SCALES[m[2].lower()]}"),
        (r"(?:\b(?:US|CA|AU))?\$ ?(?=\d)", "$"),
        (r"\$(?!\d)", " dollars "),  # between two of them the library finds mathematics
        (r"(?<![\w.])\.(?=\d)", "0."),
        (r"(?<=\d) (?=\d{1,2}/\d{1,2}(?![\w/]))", " and "),
        (r"~ ?(?=\d)", "about "),
        (r"(?<!\S)< ?(?=[$€£]?\d)", "less than "),
        (r"(?<!\S)> ?(?=[$€£]?\d)", "more than "),
        # From, to, against and by
        (r"(?<![\w-])(\d{1,2}):(\d\d):(\d\d)(?![\w:])", r"\1:\2 and \3 seconds"),
        (r"(?<![\w:.])(\d+):(\d+)(?![\w:])(?<!:\d\d)", r"\1 to \2"),
        (rf"{_NUMBER_END}(?:-|\s?–\s?)(?=[$€£]?\d)(?!\d+\s?=)", r"\1 to "),
        (r"(?<=\d)(?:\s?[x×]\s?(?=\d)|x(?!\w))", " times "),
        (r"(?<![\w.])(\d)['′](\d{1,2})(?:\"|″|'')", r"\1 foot \2"),
        (r"(?<=\b[A-Z])-(?=\d)", " "),  # B-52, which is no isotope of boron
        # Words
        (r"\b(?:No|Nr)\. ?(?=\d)", "number "),
        (r"\bNos\. ?(?=\d)", "numbers "),
        (r"\bp\. ?(?=\d)", "page "),
        (r"\bc\. ?(?=\d{3})", "around "),
        (r"\bv(?=\d)", "version "),
        (r"(?<=\w)&(?=\w)", " and "),
        (r"(\b\w+,? [A-Z][a-z]+) St\.(?=\s+[A-Z]|\s*$)", r"\1 Street."),
        (r"\bSt\.(?=\s+[A-Z])", "Saint"),
        (r"\bSt\.", "Street"),
    )
)  # fmt: skip

_DIGITS = re.compile(r"(?P<before>(?<=\w))?(?P<digits>\d+|[²³])(?P<after>(?=\w))?")


def _left_over(digits: re.Match[str]) -> str:
    """What stands in a word (B12, BA2490) or in what the library does not touch."""
    run = unicodedata.normalize("NFKC", digits["digits"])
    language = _library().lang
    words = language.cardinal(int(run)) if len(run) <= 2 else language.digits(run)
    before, after = (" " if digits[side] is not None else "" for side in ("before", "after"))
    return f"{before}{words}{after}"
