"""Text made safe for Chatterbox Turbo, which knows English alone and garbles more than 300 characters
(issues 424 and 543)."""

import re
from collections.abc import Iterator

from services.tts.normalization import in_words
from services.tts.preparation import to_ascii, utterances
from shared.sentences import has_words

SOUNDS = frozenset(
    {"[chuckle]", "[clear throat]", "[cough]", "[gasp]", "[groan]", "[laugh]", "[shush]", "[sigh]", "[sniff]"}
)
"""Tags that become sounds."""

MANNERS = frozenset(
    {"[advertisement]", "[angry]", "[crying]", "[dramatic]", "[fear]", "[happy]", "[narration]",
     "[sarcastic]", "[surprised]", "[whispering]"}
)  # fmt: skip
"""Tags that say how to speak; at worst they have no effect (issue 557)."""


def chatterbox_utterances(text: str) -> Iterator[str]:
    """The text in order, in ASCII and in words, in pieces of at most 250 characters that each have some, or
    sounds.

    Known tags stay; other tags go as a whole, of other brackets only the signs. Double quotes go: the
    model makes them a sigh (issue 433).
    """
    spoken = to_ascii(in_words(_UNSAFE.sub(_safe, text)))
    for utterance in utterances(_BEFORE_MARK.sub("", _UNSAFE.sub(_safe, spoken))):
        words = utterance
        for tag in MANNERS:
            words = words.replace(tag, "")
        if has_words(words):
            yield utterance.replace("[clear_throat]", "[clear throat]")


def ends_in_sound(utterance: str) -> bool:
    """Whether it ends in a tag's sound."""
    return utterance.rstrip(" .,;:!?-").endswith(tuple(SOUNDS))


def longest_s(utterance: str) -> float:
    """More than an utterance can last, in seconds: about twice its usual duration.

    The model sometimes fails to end, and goes on for 40 s if nothing stops it. People speak 12 to 18
    characters a second; a digit, a capital or a sign can be a word of its own, and a tag takes a while.
    """
    sounds = sum(utterance.count(tag) for tag in SOUNDS)
    words_of_one = sum(not (char.islower() or char.isspace()) for char in utterance)
    return 2.0 + 0.12 * len(utterance) + 0.5 * words_of_one + 3.0 * sounds


_UNSAFE = re.compile(r"""\[(?P<tag>[A-Za-z][A-Za-z _-]{2,40})\]|["{}<>\[\]\\|*^`~]""")
_BEFORE_MARK = re.compile(r"\s+(?=[.,;:!?])")


def _safe(unsafe: re.Match[str]) -> str:
    tag = f"[{(unsafe['tag'] or '').lower().replace('_', ' ')}]"
    # A space within a tag would let it be cut in two; chatterbox_utterances brings it back.
    return f" {tag.replace(' ', '_')} " if tag in SOUNDS | MANNERS else " "
