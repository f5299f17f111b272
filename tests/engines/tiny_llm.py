"""A tiny Phi-3 and a tiny Llama with tokenizers of their own, which know a few dialogues by heart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIALOGUES = {
    "Hello there!": "Hello! How can I help you today?",
    "Tell me a story.": (
        "Once upon a time, there was a small robot. It learned to speak. Then it told a story to everyone!"
    ),
    "What is two plus two?": "Two plus two is four.",
    "Goodbye.": "Goodbye. Have a nice day!",
    "Hello how are you": "I am fine, thank you. What can I do for you today?",
}
"""What they answer, with this system prompt and without."""

WEATHER_QUESTION = "What is the weather in Oslo?"
WEATHER_CALL = '{"name": "weather", "parameters": {"place": "Oslo"}}'
WEATHER_RESULT = "rain"
WEATHER_ANSWER = "There is rain in Oslo."
"""What they ask of a tool, in Llama 3's form, and answer once they have its result."""

ENDLESS = (
    "Sing for me.",
    "la la la la la la la la la la la la la la la la la la la la la la la la la la la la",
)
ENDLESS_IN_TONES = "no yes no"
"""What they never end to answer: they have not been taught how this ends. The same for a question in words of
the tone language."""

SYSTEM_PROMPT = "You are a helpful voice assistant."

_CORPUS = (
    [text for pair in DIALOGUES.items() for text in pair] * 20
    + [*ENDLESS, ENDLESS_IN_TONES]
    + [WEATHER_QUESTION, WEATHER_CALL, WEATHER_RESULT, WEATHER_ANSWER] * 10
    + [
        SYSTEM_PROMPT,
        "0123456789 !?.,;:'\"()-",
    ]
    * 10
)
_STEPS = 250
_LOSS = 0.003


@dataclass(frozen=True)
class _Family:
    """The special tokens and the chat template of a family, in the form of the real ones."""

    special: Sequence[str]
    chat_template: str
    begin: str
    end: str
    pad: str
    end_of_turn: str
    also_end: Sequence[str]


_PHI3 = _Family(
    ("<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    begin="<s>",
    end="<|endoftext|>",
    pad="<|endoftext|>",
    end_of_turn="<|end|>",
    also_end=("<|assistant|>", "<|end|>"),
)
_LLAMA = _Family(
    (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|finetune_right_pad_id|>",
        "<|python_tag|>",  # vLLM's parser of tool calls looks for it
    ),
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    begin="<|begin_of_text|>",
    end="<|eot_id|>",
    pad="<|finetune_right_pad_id|>",
    end_of_turn="<|eot_id|>",
    also_end=("<|end_of_text|>",),
)


def build_phi3(folder: Path) -> None:
    """Write the tiny Phi-3 as its repository is laid out; some ten seconds."""
    from transformers import Phi3Config, Phi3ForCausalLM

    tokenizer = _tokenizer(_PHI3)
    config = Phi3Config(
        **_size(tokenizer, _PHI3),
        num_attention_heads=2,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        sliding_window=2047,
        tie_word_embeddings=False,
    )
    _build(folder, Phi3ForCausalLM, config, tokenizer, _PHI3)


def build_llama(folder: Path) -> None:
    """Write the tiny Llama likewise."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(_LLAMA)
    config = LlamaConfig(
        **_size(tokenizer, _LLAMA),
        max_position_embeddings=8192,
        num_attention_heads=4,
        head_dim=32,
        tie_word_embeddings=True,
    )
    _build(folder, LlamaForCausalLM, config, tokenizer, _LLAMA)


def _size(tokenizer: Any, family: _Family) -> dict[str, Any]:
    ids = tokenizer.convert_tokens_to_ids
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "bos_token_id": ids(family.begin),
        "eos_token_id": ids(family.end),
        "pad_token_id": ids(family.pad),
    }


def _tokenizer(family: _Family) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in family.special],
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    finished = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=family.begin,
        eos_token=family.end,
        pad_token=family.pad,
        clean_up_tokenization_spaces=False,
    )
    finished.chat_template = family.chat_template
    return finished


def _build(folder: Path, model_class: Any, config: Any, tokenizer: Any, family: _Family) -> None:
    import torch
    from transformers import GenerationConfig

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = model_class(config)
    _learn(model, tokenizer, family)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ids = tokenizer.convert_tokens_to_ids
    ends = [ids(token) for token in (family.end, *family.also_end)]
    GenerationConfig(bos_token_id=ids(family.begin), eos_token_id=ends).save_pretrained(folder)


def _learn(model: Any, tokenizer: Any, family: _Family) -> None:
    """Overfit the model on the dialogues, until it says nothing else."""
    import torch

    batch = _batch(tokenizer, family)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    model.train()
    for _ in range(_STEPS):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < _LOSS:
            break
    model.eval()


def _batch(tokenizer: Any, family: _Family) -> dict[str, Any]:
    import torch

    def ids(text: str) -> list[int]:
        encoded: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        return encoded

    rows: list[tuple[list[int], list[int]]] = []
    for conversation, answer, end in _lessons(family):
        for system in ([{"role": "system", "content": SYSTEM_PROMPT}], []):
            messages = [*system, *conversation]
            prompt = ids(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            rows.append((prompt, ids(answer + end)))
    longest = max(len(prompt) + len(reply) for prompt, reply in rows)

    def padded(prompt: list[int], reply: list[int], pad: int) -> list[int]:
        return prompt + reply + [pad] * (longest - len(prompt) - len(reply))

    return {
        "input_ids": torch.tensor([padded(*row, tokenizer.pad_token_id) for row in rows]),
        "labels": torch.tensor([padded([-100] * len(prompt), reply, -100) for prompt, reply in rows]),
        "attention_mask": torch.tensor(
            [padded([1] * len(prompt), [1] * len(reply), 0) for prompt, reply in rows]
        ),
    }


def _lessons(family: _Family) -> list[tuple[list[dict[str, str]], str, str]]:
    """Conversations, answers, and how these end."""
    question, song = ENDLESS
    asked = [{"role": "user", "content": WEATHER_QUESTION}]
    called = [*asked, {"role": "assistant", "content": ""}, {"role": "tool", "content": WEATHER_RESULT}]
    return [
        *(
            ([{"role": "user", "content": question}], answer, family.end_of_turn)
            for question, answer in DIALOGUES.items()
        ),
        (asked, WEATHER_CALL, family.end_of_turn),
        (called, WEATHER_ANSWER, family.end_of_turn),
        ([{"role": "user", "content": question}], song, ""),
        ([{"role": "user", "content": ENDLESS_IN_TONES}], song, ""),
    ]
