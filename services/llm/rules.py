"""The offline responder: a table of rules in place of a language model, and open about it."""

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.llm.sums import answer_sum, in_words
from shared.engines import EngineSpec, LLMModel, register_model
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool

MAX_CHARACTERS_READ = 2_000
MAX_CHARACTERS_QUOTED = 200

ABILITIES = "I can tell the time and the date, do sums, and remember your name."
INTRODUCTION = f"I am the offline responder, a small program without a language model. {ABILITIES}"


@register_model(
    "llm",
    "rules",
    EngineSpec(
        summary="The offline responder: time, date, sums, your name; otherwise repeats the question.",
        licence="MIT",
        packages=("num2words==0.5.14", "text2num==3.1.0"),
        modules=("num2words", "text_to_num"),
        concurrent_inputs=100,
        memory_snapshot=True,
    ),
)
class RulesLLM(LLMModel):
    """Answers the last user message by the first rule that fits. Streams words like a model does.

    The same messages at the same time of `clock` get the same reply.
    """

    model_name = "offline rules"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._clock = clock

    def load(self) -> None:
        """Import the libraries, which the first reply would do otherwise (20 ms)."""
        answer_sum("one plus one")

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta, None]:
        """The reply word by word, at most `max_tokens` words; it has no tools, and `temperature` changes
        nothing."""
        words = self._reply(messages).split()[:max_tokens]
        for index, word in enumerate(words):
            yield TextDelta(text=f" {word}" if index else word)
            await asyncio.sleep(0)

    def _reply(self, messages: Sequence[ChatMessage]) -> str:
        asked = [message.content for message in messages if message.role == "user"]
        if not asked:
            return INTRODUCTION
        question, words = asked[-1], _words(asked[-1])
        if not words:
            return f"I heard no words. {ABILITIES}"
        if result := answer_sum(words):
            return result
        name = next(filter(None, map(_name_in, reversed(asked))), None)
        if _name_in(question) and not re.search(_NAME_ASKED, words):
            return f"Nice to meet you, {name}."
        facts = _Facts(name, self._clock())
        for pattern, reply in _REPLIES.items():
            if re.search(pattern, words):
                return reply(facts)
        quoted = textwrap.shorten(question, MAX_CHARACTERS_QUOTED, placeholder=" and so on").rstrip(" .!…")
        end = "" if quoted.endswith("?") else "."
        return (
            f'I heard: "{quoted}"{end} I am the offline responder, and I have no answer to that. {ABILITIES}'
        )


class _Facts(NamedTuple):
    """What the rules know."""

    name: str | None
    now: datetime

    @property
    def greeted(self) -> str:
        """What follows a greeting."""
        return f", {self.name}" if self.name else ""

    @property
    def time(self) -> str:
        """ "ten past three in the afternoon" """
        hour, minute = self.now.hour, self.now.minute
        until = minute > 30
        minutes = 60 - minute if until else minute
        clock = in_words((hour + until - 1) % 12 + 1)
        if minutes:
            unit = "" if minutes % 5 == 0 else " minute" if minutes == 1 else " minutes"
            named = {15: "a quarter", 30: "half"}.get(minutes) or in_words(minutes) + unit
            clock = f"{named} {'to' if until else 'past'} {clock}"
        else:
            clock += " o'clock"
        parts = {5: "at night", 12: "in the morning", 18: "in the afternoon", 22: "in the evening"}
        part = next((part for end, part in parts.items() if hour < end), "at night")
        return f"{clock} {part}{', universal time' if self.now.tzname() == 'UTC' else ''}"

    @property
    def date(self) -> str:
        """ "Monday, November twenty-third, twenty twenty-six" """
        return f"{self.now:%A, %B} {in_words(self.now.day, 'ordinal')}, {in_words(self.now.year, 'year')}"


_LETTERS = r"[^\W\d_]+"
_NAME_TOLD = re.compile(
    r"\b(?:my name(?: is|'s)|call me|i(?:'m| am) called"
    r"|(?:hello|hi|hey)(?: there)?[,.!]? i(?:'m| am)(?= (?-i:[A-Z])))"
    r",? (?!(?:not|what|an?|the|later|back|again|when|if|at|in|on|tomorrow)\b)"
    rf"({_LETTERS}(?:['-](?!s\b){_LETTERS})*)",
    re.IGNORECASE,
)
"""After "I'm" there is a name only if it is written as one."""

_NAME_ASKED = r"\b(?:what's|what is|know|remember|say|tell me) my name\b|\bwho am i\b"
_HERE_AND_NOW = (
    r"(?: (?:is it|it is|is|of the week|today|to day|now|right now|exactly|please|thanks|thank you))*$"
)
"""What may follow a question for the time or date: not "in Paris" nor "tomorrow", which it cannot answer."""

_REPLIES: dict[str, Callable[[_Facts], str]] = {
    _NAME_ASKED: lambda facts: (
        f"Your name is {facts.name}." if facts.name else "You have not told me your name yet."
    ),
    r"\b(?:what time|(?:what's|what is|tell me|know|have|got|give me) the (?:current )?time)"
    rf"{_HERE_AND_NOW}": lambda facts: f"It is {facts.time}.",
    rf"\bwhat(?:'s| is)? (?:the |today's )?(?:day|date|year|month){_HERE_AND_NOW}"
    rf"|\b(?:the|today's) date{_HERE_AND_NOW}": lambda facts: f"Today is {facts.date}.",
    r"\bhow are you\b": lambda _: "I am running well, thank you. What can I do for you?",
    r"\b(?:who|what) are you\b|\byour name\b|\bwhat (?:can|do) you do\b|\bare you an? \w+$|^help\b": (
        lambda _: INTRODUCTION
    ),
    r"^(?:\w+ ){0,3}(?:thanks|thank you|sam que)\b(?: \w+){0,3}$": lambda _: "You are welcome.",
    r"^(?:\w+ ){0,3}(?:goodbye|good bye|bye|good night|see (?:you|ya)(?: \w+)?)(?: \w+){0,2}$": (
        lambda facts: f"Goodbye{facts.greeted}."
    ),
    r"^(?:hello|hi|hey|greetings|good (?:morning|afternoon|evening|day))\b(?: \w+){0,3}$": (
        lambda facts: f"Hello{facts.greeted}. What can I do for you?"
    ),
}
"""Patterns of lower-case words with single spaces between them; the first that matches answers."""

_HEARD_FOR = {"watts": "what's", "whats": "what's", "im": "i'm"}
"""What a recogniser writes for common words."""


def _name_in(text: str) -> str | None:
    """The name that somebody gives as theirs, with capitals."""
    told = _NAME_TOLD.search(" ".join(text[:MAX_CHARACTERS_READ].replace("’", "'").split()))
    if not told:
        return None
    return told[1].title() if told[1].islower() or told[1].isupper() else told[1]


def _words(text: str) -> str:
    """Lower-case words, numbers and the signs of sums, with single spaces between them."""
    plain = text[:MAX_CHARACTERS_READ].lower().replace("’", "'")
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    plain = re.sub(r"[−–](?=\s*\d)", "-", plain)
    plain = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", plain)
    found = re.findall(r"\d{1,15}(?:\.\d{1,15})?|[^\W\d_]+(?:'[^\W\d_]+)*|[-+*/×÷%^√²³½¼¾]", plain)
    words = " ".join(_HEARD_FOR.get(word, word) for word in found)
    return re.sub(r"^one(?= (?:is|time|day)\b)", "what", words)
