"""Teach the tiny NeMo model the tone language: `python -m tests.engines.train_tone_nemo [STEPS]`, in the
environment of the nemo tests, about ten minutes on one core. It writes tone.nemo, which is committed."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import ASRModel
from nemo.utils import logging

from tests.engines.tiny_nemo import write_random_model
from tests.engines.tone_language import any_words, spoken

TONE_MODEL = Path(__file__).parent / "data" / "tone.nemo"

_STEPS = 1_200
_BATCH = 16
_LEARNING_RATE = 4e-3
_SILENT = 0.05
"""The share of utterances in which nobody speaks."""


def main(steps: int) -> None:
    """Train and save."""
    logging.set_verbosity(logging.ERROR)
    torch.set_num_threads(1)
    TONE_MODEL.parent.mkdir(exist_ok=True)
    write_random_model(TONE_MODEL)
    model = ASRModel.restore_from(str(TONE_MODEL), map_location="cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    chance = np.random.default_rng(0)
    model.train()
    for step in range(steps):
        loss = _loss(model, chance)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(step, round(loss.item(), 4), flush=True)  # noqa: T201
    model.eval()
    model.save_to(str(TONE_MODEL))


def _loss(model: Any, chance: np.random.Generator) -> Any:
    """The RNNT loss of a batch of fresh utterances."""
    said = [[] if chance.random() < _SILENT else any_words(chance) for _ in range(_BATCH)]
    sounds = [torch.from_numpy(spoken(words, chance).samples.copy()) for words in said]
    targets = [torch.tensor(model.tokenizer.text_to_ids(" ".join(words)), dtype=torch.long) for words in said]
    encoded, encoded_lengths = model(
        input_signal=torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True),
        input_signal_length=torch.tensor([len(sound) for sound in sounds]),
    )
    padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    lengths = torch.tensor([len(target) for target in targets])
    predicted, predicted_lengths, _ = model.decoder(targets=padded, target_length=lengths)
    joint = model.joint(encoder_outputs=encoded, decoder_outputs=predicted)
    return model.loss(
        log_probs=joint, targets=padded, input_lengths=encoded_lengths, target_lengths=predicted_lengths
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _STEPS)
