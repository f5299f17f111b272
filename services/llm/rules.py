"""The offline responder: a table of rules in place of a language model, and open about it."""

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.llm.spoken_dates import say_date, say_time
from services.llm.sums import answer_sum
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
        summary="The offline responder: time, date, sums, your name; otherwise says what it heard.",
        licence="MIT",
        concurrent_inputs=100,
        memory_snapshot=True,
    ),
)
class RulesLLM(LLMModel):
    """Answers the last user message by the first rule that fits. Streams words like a model does.

    The same messages at the same time of `clock` get the same reply.
    """

    def __init__(self, clock: Callable[[], datetime] = datetime.now) -> None:
        self._clock = clock

    @property
    def model_name(self) -> str:
        """It is no model."""
        return "offline rules"

    def load(self) -> None:
        """Nothing to load."""

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
        said = [message.content for message in messages if message.role == "user"]
        if not said:
            return INTRODUCTION
        names = (_name_in(text) for text in reversed(said))
        turn = _Turn(said[-1], _words(said[-1]), next(filter(None, names), None), self._clock())
        replies = (answer(turn) for answer in (_sum, _name_told, _by_pattern))
        return next(filter(None, replies), None) or _heard(turn)


@dataclass(frozen=True)
class _Turn:
    """What the rules know: the utterance as it came and as plain words, the speaker's name, the time."""

    text: str
    words: list[str]
    name: str | None
    now: datetime

    @property
    def to_name(self) -> str:
        """What follows a greeting."""
        return f", {self.name}" if self.name else ""


def _sum(turn: _Turn) -> str | None:
    return answer_sum(turn.words)


def _name_told(turn: _Turn) -> str | None:
    name = _name_in(turn.text)
    return f"Nice to meet you, {name}." if name and not re.search(_NAME_ASKED, " ".join(turn.words)) else None


def _by_pattern(turn: _Turn) -> str | None:
    said = " ".join(turn.words)
    return next((reply(turn) for pattern, reply in _REPLIES.items() if re.search(pattern, said)), None)


def _heard(turn: _Turn) -> str:
    if not turn.words:
        return f"I heard no words. {ABILITIES}"
    quoted = textwrap.shorten(turn.text, MAX_CHARACTERS_QUOTED, placeholder=" and so on")
    return f'I heard: "{quoted}". I am the offline responder, and I have no answer to that. {ABILITIES}'


_NAME_TOLD = (
    r"\b(?:my name is|my name's|call me|i'm called|i am called) (?!not\b|what\b|an?\b|the\b)([^\W\d_]+)"
)
_NAME_ASKED = r"\b(?:what's|what is|know|remember|say|tell me) my name\b|\bwho am i\b"

_REPLIES: dict[str, Callable[[_Turn], str]] = {
    _NAME_ASKED: lambda turn: (
        f"Your name is {turn.name}." if turn.name else "You have not told me your name yet."
    ),
    r"\bwhat time (?:is it|it is|now)\b|\b(?:what's|what is|tell me|know|have|got|give me) the time\b": (
        lambda turn: f"It is {say_time(turn.now)}."
    ),
    r"\bwhat(?:'s| is)? (?:the |today's )?(?:day|date|year|month)\b|\b(?:the|today's) date\b": (
        lambda turn: f"Today is {say_date(turn.now)}."
    ),
    r"\bhow are you\b": lambda turn: "I am running well, thank you. What can I do for you?",
    r"\b(?:who|what) are you\b|\byour name\b|\bwhat (?:can|do) you do\b|\bare you an? \w+$|^help\b": (
        lambda turn: INTRODUCTION
    ),
    r"^(?:\w+ ){0,3}(?:thanks|thank you|sam que)\b(?: \w+){0,3}$": lambda turn: "You are welcome.",
    r"^(?:\w+ ){0,3}(?:goodbye|good bye|bye|good night|see (?:you|ya)(?: \w+)?)(?: \w+){0,2}$": (
        lambda turn: f"Goodbye{turn.to_name}."
    ),
    r"^(?:hello|hi|hey|greetings|good (?:morning|afternoon|evening|day))\b(?: \w+){0,3}$": (
        lambda turn: f"Hello{turn.to_name}. What can I do for you?"
    ),
}
"""Patterns of lower-case words with single spaces between them; the first that is found answers."""

_HEARD_FOR = {"watts": "what's", "whats": "what's", "im": "i'm"}
"""What a recogniser writes for common words."""


def _name_in(text: str) -> str | None:
    """The name that somebody gives as theirs, capitalised."""
    told = re.search(_NAME_TOLD, " ".join(_words(text)))
    return told[1].capitalize() if told else None


def _words(text: str) -> list[str]:
    """Lower-case words, numbers and the signs of sums; no other punctuation."""
    plain = text[:MAX_CHARACTERS_READ].lower().replace("’", "'")
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    plain = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", plain)
    found = re.findall(r"\d{1,15}(?:\.\d{1,15})?|[^\W\d_]+(?:'[^\W\d_]+)*|[-+*/×÷]", plain)
    words = [_HEARD_FOR.get(word, word) for word in found]
    return ["what", *words[1:]] if _begins_with_one_for_what(words) else words


def _begins_with_one_for_what(words: list[str]) -> bool:
    """ "one is the time": a recogniser's "what" """
    return words[:1] == ["one"] and words[1:2] in (["is"], ["time"], ["day"])
