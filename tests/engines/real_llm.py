"""SmolLM2-135M-Instruct, a language model with real weights: small, and by its architecture a Llama."""

from pathlib import Path

from services.weights import weights_folder
from services.weights.pinned import SMOLLM2


def build_smollm2(folder: Path) -> None:
    """Write the quantised weights as their own repository is laid out, in bfloat16 (269 MB)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    quantised = {
        "pretrained_model_name_or_path": weights_folder(SMOLLM2),
        "gguf_file": SMOLLM2.files[0].name,
    }
    read = AutoModelForCausalLM.from_pretrained(**quantised, dtype=torch.bfloat16)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config).to(torch.bfloat16)  # one that was read quantised does not save itself
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**quantised).save_pretrained(folder)
