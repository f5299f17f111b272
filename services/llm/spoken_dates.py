"""Times of day and dates in words, as they are said."""

from datetime import datetime

from services.llm.spoken_numbers import say_integer, say_ordinal

# fmt: off
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)
# fmt: on
_NAMED_MINUTES = {15: "a quarter", 30: "half"}


def say_time(now: datetime) -> str:
    """ "ten past three in the afternoon" """
    minutes_to_next = 60 - now.minute
    if now.minute == 0:
        clock = f"{_hour(now.hour)} o'clock"
    elif now.minute <= 30:
        clock = f"{_minutes(now.minute)} past {_hour(now.hour)}"
    else:
        clock = f"{_minutes(minutes_to_next)} to {_hour(now.hour + 1)}"
    return f"{clock} {_part_of_day(now.hour)}"


def say_date(now: datetime) -> str:
    """ "Monday, November twenty third, twenty twenty six" """
    return f"{_DAYS[now.weekday()]}, {_MONTHS[now.month - 1]} {say_ordinal(now.day)}, {_year(now.year)}"


def _hour(hour: int) -> str:
    return say_integer((hour - 1) % 12 + 1)


def _minutes(minutes: int) -> str:
    if minutes in _NAMED_MINUTES:
        return _NAMED_MINUTES[minutes]
    unit = "" if minutes % 5 == 0 else " minute" if minutes == 1 else " minutes"
    return say_integer(minutes) + unit


def _part_of_day(hour: int) -> str:
    if 5 <= hour < 12:
        return "in the morning"
    if 12 <= hour < 18:
        return "in the afternoon"
    return "in the evening" if 18 <= hour < 22 else "at night"


def _year(year: int) -> str:
    """In pairs where that is how it is said: "twenty twenty six", but "two thousand and six"."""
    if year % 100 < 10:
        return say_integer(year)
    return f"{say_integer(year // 100)} {say_integer(year % 100)}"
