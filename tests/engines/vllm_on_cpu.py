"""How vLLM is run on a machine without a GPU."""

FLAGS = "--enforce-eager --no-enable-sleep-mode"
"""What it cannot do there."""

ENVIRON = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "fork",  # each process would import everything anew
    "OMP_NUM_THREADS": "1",
}
