"""Chatterbox Turbo at random weights: the real architecture, with a smaller token model.

It cannot be taught words. Its token model is taught to count: each speech token makes the next one certain.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

TINY = {"n_embd": 64, "hidden_size": 64, "n_head": 2, "n_layer": 2, "n_positions": 2048, "n_ctx": 2048}

_TINY_GPT2 = {"model_type": "gpt2", "vocab_size": 50276, **TINY}

SITE_FILES = {
    "chatterbox/models/t3/llama_configs.py": f"LLAMA_CONFIGS = {{'GPT2_medium': {_TINY_GPT2}}}\n",
}
"""A file of the library that has any program make the small token model: what `shrink` does, without code in
the program."""

NUM_TOKENS = 12
"""How many speech tokens it speaks, whatever the text."""

TOKENS_OF_SILENCE = 3
"""The library adds them."""

TAGS = ("[laugh]", "[sigh]", "[clear throat]", "[happy]")
ENDLESS_T3 = "t3_endless.safetensors"
"""Beside the other files: a token model that never ends."""

_START_TOKEN, _STOP_TOKEN = 6561, 6562


def shrink() -> None:
    """Have the library make the small token model, in this process; before any is made or loaded."""
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS

    LLAMA_CONFIGS["GPT2_medium"].update(TINY)


def build(folder: Path) -> None:
    """Write the files of a checkpoint (1.1 GB, most of it S3Gen, which is of full size)."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.voice_encoder import VoiceEncoder

    shrink()
    torch.manual_seed(0)
    _save(_counting_t3(_STOP_TOKEN), folder / "t3_turbo_v1.safetensors")
    _save(_counting_t3(0), folder / ENDLESS_T3)
    _save(S3Gen(meanflow=True), folder / "s3gen_meanflow.safetensors")
    _save(VoiceEncoder(), folder / "ve.safetensors")
    _save_tokenizer(folder)
    _voice().save(folder / "conds.pt")


def _save(model: Any, file: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)


def _counting_t3(after_last: int) -> Any:
    """A token model that says 0, 1, … NUM_TOKENS - 1, and then `after_last`."""
    import torch
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config

    config = T3Config(text_tokens_dict_size=50276)
    config.llama_config_name = "GPT2_medium"
    config.speech_tokens_dict_size = 6563
    config.input_pos_emb = None
    config.speech_cond_prompt_len = 375
    config.use_perceiver_resampler = False
    config.emotion_adv = False
    model = T3(config)
    order = [_START_TOKEN, *range(NUM_TOKENS), after_last]
    with torch.no_grad():
        for token, following in pairwise(order):
            sign = torch.randn(TINY["n_embd"])
            model.speech_emb.weight[token] = 3.0 * sign
            model.speech_head.weight[following] += 3.0 * sign
    return model


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    vocabulary = [end, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, unk_token=end, model_max_length=1024
    )
    fast.add_tokens(list(TAGS))
    fast.save_pretrained(folder)


def _voice() -> Any:
    """A built-in voice, of the shapes of the real one but for a shorter prompt."""
    import torch
    from chatterbox.models.t3.modules.cond_enc import T3Cond
    from chatterbox.tts_turbo import Conditionals

    prompt_tokens = 50
    return Conditionals(
        T3Cond(
            speaker_emb=torch.nn.functional.normalize(torch.rand(1, 256), dim=1),
            cond_prompt_speech_tokens=torch.randint(0, _START_TOKEN, (1, 375)),
            emotion_adv=torch.full((1, 1, 1), 0.5),
        ),
        {
            "prompt_token": torch.randint(0, _START_TOKEN, (1, prompt_tokens)),
            "prompt_token_len": torch.tensor([prompt_tokens]),
            "prompt_feat": torch.randn(1, 2 * prompt_tokens, 80) - 5,
            "prompt_feat_len": None,
            "embedding": torch.randn(1, 192),
        },
    )
