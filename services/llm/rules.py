"""The offline responder: a table of rules in place of a language model, and open about it."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.llm.spoken_dates import say_date, say_time
from services.llm.sums import answer_sum
from shared.engines import EngineSpec, LLMModel, register_model
from shared.payloads import ChatMessage

MAX_WORDS_READ = 200
MAX_WORDS_QUOTED = 30

ABILITIES = "I can tell the time and the date, do sums, and remember your name."


@register_model(
    "llm",
    "rules",
    EngineSpec(
        summary="The offline responder: time, date, sums, your name; otherwise says what it heard.",
        licence="MIT",
        concurrent_inputs=100,
        context_length=32_768,
        memory_snapshot=True,
    ),
)
class RulesLLM(LLMModel):
    """Answers the last user message by the first rule that fits. Streams words like a model does.

    The same messages at the same time of `clock` give the same reply.
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
        self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float
    ) -> AsyncGenerator[str, None]:
        """The reply word by word, at most `max_tokens` words; `temperature` changes nothing."""
        words = self._reply(messages).split()[:max_tokens]
        for index, word in enumerate(words):
            yield f" {word}" if index else word
            await asyncio.sleep(0)

    def _reply(self, messages: Sequence[ChatMessage]) -> str:
        said = [_Utterance.of(message.content) for message in messages if message.role == "user"]
        if not said:
            return f"I am the offline responder. {ABILITIES}"
        utterance, name, now = said[-1], _last_name(said), self._clock()
        for rule in _RULES:
            if reply := rule(utterance, name, now):
                return reply
        return _heard(utterance)


@dataclass(frozen=True)
class _Utterance:
    """What the user said: as it came, and as lower-case words without punctuation."""

    text: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "_Utterance":
        plain = text.lower().replace("’", "'")
        plain = re.sub(r"(?<=\d),(?=\d{3})|(?<=[a-z])-(?=[a-z])", _without_separator, plain)
        words = re.findall(r"\d{1,15}(?:\.\d{1,15})?|[^\W\d_]+(?:'[^\W\d_]+)*|[-+*/×÷]", plain)
        return cls(text, tuple(_HEARD_FOR.get(word, word) for word in words[:MAX_WORDS_READ]))

    def says(self, pattern: str) -> re.Match[str] | None:
        """Where the words, joined by single spaces, match."""
        return re.search(pattern, " ".join(self.words))


_HEARD_FOR = {"watts": "what's", "whats": "what's", "hows": "how's", "im": "i'm"}
"""What a recogniser writes for common words."""

_Rule = Callable[[_Utterance, str | None, datetime], str | None]


def _without_separator(match: re.Match[str]) -> str:
    return "" if match[0] == "," else " "


def _sum(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    return answer_sum(utterance.words)


def _name_asked(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    if not utterance.says(r"\b(what's|what is|know|remember|say|tell me) my name\b|\bwho am i\b"):
        return None
    return f"Your name is {name}." if name else "You have not told me your name yet."


def _name_told(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    told = _name_in(utterance)
    return f"Nice to meet you, {told}." if told else None


def _time(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    asked = r"\b(what|one) time (is it|now)\b|\b(what's|what is|tell me|know|have|got|give me) the time\b"
    return f"It is {say_time(now)}." if utterance.says(asked) else None


def _date(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    asked = r"\bwhat('s| is)? (the |today's )?(day|date|year|month)\b|\b(the|today's) date\b"
    return f"Today is {say_date(now)}." if utterance.says(asked) else None


def _how_are_you(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    return (
        "I am running well, thank you. What can I do for you?" if utterance.says(r"\bhow are you\b") else None
    )


def _about(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    asked = r"\b(who|what) are you\b|\byour name\b|\bwhat (can|do) you do\b|\bare you an? \w+$|^help\b"
    if not utterance.says(asked):
        return None
    return f"I am the offline responder, a small program with no language model. {ABILITIES}"


def _thanks(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    return (
        "You are welcome."
        if utterance.says(r"^(\w+ ){0,3}(thanks|thank you|sam que)\b( \w+){0,3}$")
        else None
    )


def _goodbye(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    said = utterance.says(r"^(\w+ ){0,3}(goodbye|good bye|bye|good night|see (you|ya)( \w+)?)( \w+){0,2}$")
    return f"Goodbye{_to(name)}." if said else None


def _greeting(utterance: _Utterance, name: str | None, now: datetime) -> str | None:
    said = utterance.says(r"^(hello|hi|hey|greetings|good (morning|afternoon|evening|day))( \w+){0,3}$")
    return f"Hello{_to(name)}. What can I do for you?" if said else None


_RULES: tuple[_Rule, ...] = (
    _sum, _name_asked, _name_told, _time, _date, _how_are_you, _about, _thanks, _goodbye, _greeting,
)  # fmt: skip


def _heard(utterance: _Utterance) -> str:
    words = utterance.text.split()
    if not words:
        return f"I heard no words. {ABILITIES}"
    quoted = " ".join(words[:MAX_WORDS_QUOTED]) + (" and so on" if len(words) > MAX_WORDS_QUOTED else "")
    return f'I heard: "{quoted}". I am the offline responder, and I have no answer to that. {ABILITIES}'


def _last_name(said: Sequence[_Utterance]) -> str | None:
    names = (_name_in(utterance) for utterance in reversed(said))
    return next((name for name in names if name), None)


def _name_in(utterance: _Utterance) -> str | None:
    """The name that somebody gives as theirs, capitalised."""
    told = utterance.says(
        r"\b(?:my name is|my name's|call me|i'm called|i am called) (?!not |what\b|a |the )([^\W\d_]+)"
    )
    return told[1].capitalize() if told else None


def _to(name: str | None) -> str:
    return f", {name}" if name else ""
