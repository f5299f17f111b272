"""A model of the same classes and options as nemotron-speech-streaming-en-0.6b, a ten-thousandth its size."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from nemo.collections.asr.models import EncDecRNNTBPEModel
from omegaconf import OmegaConf

from tests.engines.tone_language import WORDS_HZ


def write_random_model(file: Path, *, width: int = 32, seed: int = 0) -> None:
    """Write an EncDecRNNTBPEModel with random weights; its word pieces are the words of the tone language."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        _make_tokenizer(Path(folder))
        model = EncDecRNNTBPEModel(cfg=OmegaConf.create(_config(folder, width)))
        model.save_to(str(file))  # while the tokenizer's files are still there


def _make_tokenizer(folder: Path) -> None:
    orders = [np.random.default_rng(seed).permutation(list(WORDS_HZ)) for seed in range(200)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(order) for order in orders]),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=48,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        minloglevel=2,
    )
    pieces = (folder / "tokenizer.vocab").read_text().splitlines()
    (folder / "vocab.txt").write_text("".join(f"{piece.split(chr(9))[0]}\n" for piece in pieces))


def _config(tokenizer: str, width: int) -> dict[str, Any]:
    modules = "nemo.collections.asr.modules"
    return {
        "sample_rate": 16_000,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": {"enc_hidden": width, "pred_hidden": width, "joint_hidden": width},
        "tokenizer": {"dir": tokenizer, "type": "bpe"},
        "preprocessor": _PREPROCESSOR | {"_target_": f"{modules}.AudioToMelSpectrogramPreprocessor"},
        "spec_augment": {
            "_target_": f"{modules}.SpectrogramAugmentation",
            "freq_masks": 0,
            "time_masks": 0,
        },
        "encoder": _ENCODER | {"_target_": f"{modules}.ConformerEncoder", "d_model": width},
        "decoder": {
            "_target_": f"{modules}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": width, "pred_rnn_layers": 2, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": f"{modules}.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "jointnet": {"joint_hidden": width, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}},
        "loss": {"loss_name": "default"},
        "optim": {"name": "adamw", "lr": 1e-3},
    }


_PREPROCESSOR = {
    "sample_rate": 16_000,
    "normalize": "NA",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 128,
    "n_fft": 512,
    "log": True,
    "frame_splicing": 1,
    "dither": 1e-5,
    "pad_to": 0,
}

_ENCODER = {
    "feat_in": 128,
    "feat_out": -1,
    "n_layers": 2,
    "use_bias": False,
    "subsampling": "dw_striding",
    "subsampling_factor": 8,
    "subsampling_conv_channels": 16,
    "causal_downsampling": True,
    "ff_expansion_factor": 2,
    "self_attention_model": "rel_pos",
    "n_heads": 2,
    "att_context_size": [[70, 13], [70, 6], [70, 1], [70, 0]],
    "att_context_style": "chunked_limited",
    "att_context_probs": None,
    "xscaling": False,
    "untie_biases": True,
    "pos_emb_max_len": 5000,
    "conv_kernel_size": 9,
    "conv_norm_type": "layer_norm",
    "conv_context_size": "causal",
    "dropout": 0.0,
    "dropout_pre_encoder": 0.0,
    "dropout_emb": 0.0,
    "dropout_att": 0.0,
}
