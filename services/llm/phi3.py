"""Phi-3-mini-4k-instruct, Microsoft's model of 3.8 billion parameters, on vLLM."""

from services.llm.vllm_model import CONCURRENT_REPLIES, VLLM_APT_PACKAGES, VLLM_FILES, VLLM_PACKAGES, VllmLLM
from shared.engines import EngineSpec, Weights, register_model


@register_model(
    "llm",
    "phi3",
    EngineSpec(
        summary="Phi-3-mini-4k-instruct on vLLM; English, 4,096 tokens of conversation.",
        licence="MIT",
        packages=VLLM_PACKAGES,
        modules=("vllm", "openai"),
        apt_packages=VLLM_APT_PACKAGES,
        gpu="A10G",
        concurrent_inputs=CONCURRENT_REPLIES,
        weights=Weights(
            repository="microsoft/Phi-3-mini-4k-instruct",
            revision="f39ac1d28e925b323eae81227eaba4464caced4e",
            files=VLLM_FILES,
        ),
        context_length=4096,
        memory_snapshot=True,
        gpu_snapshot=True,
    ),
)
class Phi3(VllmLLM):
    """On an A10G: 7.6 GB of weights, 0.375 MiB of key-value cache a token, which leaves room for about seven
    full conversations or sixteen of usual length."""
