"""A Whisper for CTranslate2, written with numpy alone, that says a planted text whatever it hears.

Its decoder is a table from positions to tokens: the position codes are one-hot, attention and feed-forward
layers add nothing, and the output layer points from each position to its token.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import whisper_spec
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

LANGUAGES = ["en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr"]

_POSITIONS = 448
_FRAMES = 1500
_SURE = 48.0
_TEXT_TO_LEARN_FROM = [
    "Hello there, how are you today?",
    " The quick brown fox.",
    " I'm fine - thanks.",
    " Yes. No.",
]


@dataclass(frozen=True, kw_only=True)
class TinyWhisper:
    """What the model says, and how sure it is of it: with a certainty of 3 each token has a probability of
    about 1 %. `hears_nobody` has it believe that there is no speech."""

    text: str
    multilingual: bool = False
    certainty: float = _SURE
    hears_nobody: bool = False
    width: int = 64
    heads: int = 2
    layers: int = 1


def write_tiny_whisper(folder: Path, plan: TinyWhisper) -> None:
    """Write the files of a repository of the hub: model.bin, config.json, tokenizer.json and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(plan.multilingual)
    spec = whisper_spec.WhisperSpec(plan.layers, plan.heads, plan.layers, plan.heads)
    _fill_encoder(spec.encoder, plan)
    _fill_decoder(spec.decoder, plan, tokenizer)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokenizer.token_to_id("<|endoftext|>")]
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{language}|>") for language in LANGUAGES]
    spec.config.alignment_heads = [(plan.layers - 1, head) for head in range(plan.heads)]
    tokens = {index: token for token, index in tokenizer.get_vocab().items()}
    spec.register_vocabulary([tokens[index] for index in range(len(tokens))])
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {
        "feature_size": 80,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


def _tokenizer(multilingual: bool) -> Any:
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    learner = _byte_level(models.BPE())
    learner.train_from_iterator(_TEXT_TO_LEARN_FROM, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary, merges = learned["vocab"], [tuple(merge) for merge in learned["merges"]]
    if multilingual:
        vocabulary[""] = len(vocabulary)  # how CTranslate2 knows
    tokenizer = _byte_level(models.BPE(vocab=vocabulary, merges=merges))
    # CTranslate2 counts the languages by the order of these.
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in LANGUAGES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    special += ["<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    times = [f"<|{index * 0.02:.2f}|>" for index in range(1501)]
    tokenizer.add_tokens([AddedToken(time, special=False, normalized=False) for time in times])
    return tokenizer


def _byte_level(model: Any) -> Any:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _fill_encoder(encoder: Any, plan: TinyWhisper) -> None:
    width, chance = plan.width, np.random.default_rng(0)
    encoder.conv1.weight, encoder.conv1.bias = _random(chance, width, 80, 3), _zeros(width)
    encoder.conv2.weight, encoder.conv2.bias = _random(chance, width, width, 3), _zeros(width)
    encoder.position_encodings.encodings = _random(chance, _FRAMES, width)
    _fill_norm(encoder.layer_norm, width)
    for layer in encoder.layer:
        _fill_attention(layer.self_attention, (3 * width, width), chance)
        _fill_feed_forward(layer.ffn, width, chance)


def _fill_decoder(decoder: Any, plan: TinyWhisper, tokenizer: Any) -> None:
    width, size = plan.width, tokenizer.get_vocab_size()
    decoder.embeddings.weight = _zeros(size, width)
    codes = _zeros(_POSITIONS, width)
    codes[np.arange(_POSITIONS), np.minimum(np.arange(_POSITIONS), width - 1)] = 8.0
    decoder.position_encodings.encodings = codes
    _fill_norm(decoder.layer_norm, width)
    for layer in decoder.layer:
        _fill_attention(layer.self_attention, (3 * width, width))
        _fill_attention(layer.attention, (width, 2 * width, width))
        _fill_feed_forward(layer.ffn, width)
    decoder.projection.weight = _planted(plan, tokenizer)
    decoder.projection.bias = _zeros(size)


def _planted(plan: TinyWhisper, tokenizer: Any) -> NDArray[np.float32]:
    """The output layer, of shape (vocabulary, width)."""
    token, width = tokenizer.token_to_id, plan.width
    text = tokenizer.encode(plan.text, add_special_tokens=False).ids
    # The prompt is <|startoftranscript|>, in multilingual models language and task, and <|notimestamps|>
    # or not: so the text begins at the same position either way, behind <|0.00|> where times are wanted.
    first = 3 if plan.multilingual else 1
    assert first + len(text) + 1 < width, "the text is too long for the model's width"
    end = first + len(text)
    tokens = {first - 1: token("<|0.00|>"), end: token("<|1.00|>"), end + 1: token("<|endoftext|>")}
    tokens |= {first + index: piece for index, piece in enumerate(text)}
    one_hot = np.sqrt(width - 1)  # what layer normalisation makes of a position code
    weight = _zeros(tokenizer.get_vocab_size(), width)
    for position, piece in tokens.items():
        weight[piece, position] = plan.certainty / one_hot
    if plan.hears_nobody:
        weight[token("<|nospeech|>"), 0] = 2 * _SURE / one_hot
    return weight


def _fill_norm(norm: Any, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float32), _zeros(width)


def _fill_attention(
    attention: Any, outputs: tuple[int, ...], chance: np.random.Generator | None = None
) -> None:
    width = outputs[-1]
    _fill_norm(attention.layer_norm, width)
    for linear, size in zip(attention.linear, outputs, strict=True):
        _fill_linear(linear, size, width, chance)


def _fill_feed_forward(layer: Any, width: int, chance: np.random.Generator | None = None) -> None:
    _fill_norm(layer.layer_norm, width)
    _fill_linear(layer.linear_0, 4 * width, width, chance)
    _fill_linear(layer.linear_1, width, 4 * width, chance)


def _fill_linear(linear: Any, outputs: int, inputs: int, chance: np.random.Generator | None) -> None:
    linear.weight = _random(chance, outputs, inputs) if chance else _zeros(outputs, inputs)
    linear.bias = _zeros(outputs)


def _zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def _random(chance: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (0.1 * chance.standard_normal(shape)).astype(np.float32)
