"""The Whisper models that S2S_WHISPER_MODEL can name, converted for CTranslate2 and pinned."""

import difflib

from shared.engines import Weights
from shared.errors import Misconfigured, Stage

_SYSTRAN = {
    "tiny": "d90ca5fe260221311c53c58e660288d3deb8d356",
    "tiny.en": "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
    "base": "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    "base.en": "3d3d5dee26484f91867d81cb899cfcf72b96be6c",
    "small": "536b0662742c02347bc0e980a01041f333bce120",
    "small.en": "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
    "medium": "08e178d48790749d25932bbc082711ddcfdfbc4f",
    "medium.en": "a29b04bd15381511a9af671baec01072039215e3",
    "large-v3": "edaa852ec7e145841d8ffdb056a99866b5f0a478",
}

_FILES = ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*")

WHISPER_MODELS = {
    name: Weights(repository=f"Systran/faster-whisper-{name}", revision=revision, files=_FILES)
    for name, revision in _SYSTRAN.items()
} | {
    "large-v3-turbo": Weights(
        repository="dropbox-dash/faster-whisper-large-v3-turbo",
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        files=_FILES,
    )
}


def whisper_weights(name: str) -> Weights:
    """The weights of a size ("small.en"), or of any repository of the hub that holds a converted Whisper
    ("somebody/some-whisper", or "somebody/some-whisper@revision").

    Raises Misconfigured if there is no such size.
    """
    if name in WHISPER_MODELS:
        return WHISPER_MODELS[name]
    if "/" in name:
        repository, _, revision = name.partition("@")
        return Weights(repository=repository, revision=revision or "main", files=_FILES)
    close = difflib.get_close_matches(name, WHISPER_MODELS, n=1)
    hint = f" Do you mean {close[0]}?" if close else ""
    raise Misconfigured(
        f"S2S_WHISPER_MODEL={name}: no such size.{hint} There are: {', '.join(WHISPER_MODELS)}; or name a "
        "repository (somebody/some-whisper).",
        Stage.ASR,
    )
