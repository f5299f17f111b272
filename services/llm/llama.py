"""Llama-3.2-3B-Instruct, Meta's model of 3.2 billion parameters, on vLLM."""

from services.llm.vllm_model import CONCURRENT_REPLIES, VLLM_APT_PACKAGES, VLLM_FILES, VLLM_PACKAGES, VllmLLM
from shared.engines import EngineSpec, Weights, register_model


@register_model(
    "llm",
    "llama",
    EngineSpec(
        summary="Llama-3.2-3B-Instruct on vLLM; eight languages, 8,192 tokens of conversation.",
        licence="Llama 3.2 Community License",
        packages=VLLM_PACKAGES,
        modules=("vllm", "openai"),
        apt_packages=VLLM_APT_PACKAGES,
        gpu="A10G",
        concurrent_inputs=CONCURRENT_REPLIES,
        weights=Weights(
            repository="meta-llama/Llama-3.2-3B-Instruct",
            revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
            files=VLLM_FILES,
            token="HF_TOKEN",  # Meta lets those in who have agreed to its licence
        ),
        context_length=8192,
        memory_snapshot=True,
        gpu_snapshot=True,
    ),
)
class Llama(VllmLLM):
    """On an A10G: 6.4 GB of weights, 0.11 MiB of key-value cache a token, which leaves room for about
    fourteen full conversations. The model could take 131,072 tokens; a voice conversation does not need
    them."""
