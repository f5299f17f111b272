"""Text made safe for Chatterbox Turbo, which garbles long text and knows English alone."""

import re
from collections.abc import Iterator

from services.tts.sentences import sentences, to_ascii

MAX_UTTERANCE_CHARACTERS = 250
"""Above 300 to 350 it garbles (chatterbox issues 424 and 543)."""

SOUNDS = frozenset(
    {"[chuckle]", "[clear throat]", "[cough]", "[gasp]", "[groan]", "[laugh]", "[shush]", "[sigh]", "[sniff]"}
)
"""Tags that are spoken as sounds."""

MANNERS = frozenset(
    {"[advertisement]", "[angry]", "[crying]", "[dramatic]", "[fear]", "[happy]", "[narration]",
     "[sarcastic]", "[surprised]", "[whispering]"}
)  # fmt: skip
"""Tags that say how to speak; at worst they have no effect (issue 557)."""


def utterances(text: str) -> Iterator[str]:
    """The text in order, in ASCII, in pieces of at most 250 characters that each have something to say.

    Known tags stay; other tags go as a whole, of other brackets only the signs. Double quotes go: they
    are spoken as a sigh (issue 433).
    """
    utterance = ""
    for sentence in sentences(_BEFORE_MARK.sub("", _UNSAFE.sub(_safe, to_ascii(text)))):
        joined = f"{utterance} {sentence}".strip()
        if len(joined) > MAX_UTTERANCE_CHARACTERS:
            yield from _finished(utterance)
            joined = sentence
        utterance = joined
    yield from _finished(utterance)


def ends_in_sound(utterance: str) -> bool:
    """Whether a tag's sound is the last that is heard."""
    return utterance.rstrip(" .,;:!?-").endswith(tuple(SOUNDS))


def longest_s(utterance: str) -> float:
    """More than it can take to say, in seconds: about twice what it does take.

    The model now and then fails to end, and goes on for 40 s if nothing stops it. People say 12 to 18
    characters a second; a digit, a capital or a sign can be a word of its own, and a tag takes a while.
    """
    sounds = sum(utterance.count(tag) for tag in SOUNDS)
    words_of_one = sum(not (char.islower() or char.isspace()) for char in utterance)
    return 2.0 + 0.12 * len(utterance) + 0.5 * words_of_one + 3.0 * sounds


_UNSAFE = re.compile(r"""\[(?P<tag>[A-Za-z][A-Za-z _-]{2,40})\]|["{}<>\[\]\\|*^`~]""")
_BEFORE_MARK = re.compile(r"\s+(?=[.,;:!?])")


def _safe(unsafe: re.Match[str]) -> str:
    tag = f"[{(unsafe['tag'] or '').lower()}]"
    # A space within a tag would let it be cut in two; _finished brings it back.
    return f" {tag.replace(' ', '_')} " if tag in SOUNDS | MANNERS else " "


def _finished(utterance: str) -> Iterator[str]:
    said = utterance
    for tag in MANNERS:
        said = said.replace(tag, "")
    if any(char.isalnum() for char in said):
        yield utterance.replace("[clear_throat]", "[clear throat]")
