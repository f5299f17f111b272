"""Tokens, for clients that want their number: the stages do not count them, so these are estimates."""

from collections.abc import Iterable
from math import ceil
from typing import Final

_CHARACTERS_A_TOKEN: Final = 4  # of English text, OpenAI's rule of thumb
_SPEECH_TOKENS_A_SECOND: Final = 20  # of what a model says: OpenAI counts one for 50 ms
_AUDIO_TOKENS_A_SECOND: Final = 10  # of what a person says: one for 100 ms


def text_tokens(texts: Iterable[str]) -> int:
    """About how many tokens these texts have."""
    return ceil(sum(map(len, texts)) / _CHARACTERS_A_TOKEN)


def speech_tokens(duration_s: float) -> int:
    """How many tokens OpenAI would count for synthesized speech."""
    return ceil(duration_s * _SPEECH_TOKENS_A_SECOND)


def audio_tokens(duration_s: float) -> int:
    """How many tokens OpenAI would count for a person's audio."""
    return ceil(duration_s * _AUDIO_TOKENS_A_SECOND)


def token_usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    """Both numbers and their sum, as OpenAI's audio API names them."""
    total = input_tokens + output_tokens
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total}
