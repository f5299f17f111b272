"""Which models vLLM serves: their repositories, their flags and their tools."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.llm.vllm import AnyOnVllm, Llama, Phi3, tool_parser, vllm_flags
from services.on_modal.image_locks import LOCKS, lock_file
from services.selection import discover
from shared.engines import MODEL_REGISTRY
from shared.errors import Misconfigured, Stage
from shared.settings import Settings, settings
from tests.support.local_hub import local_hub
from tests.support.paths import ROOT


def test_vllm_serves_the_repository_revision_and_context_length_of_the_settings(
    configure: Callable[..., None],
) -> None:
    default = AnyOnVllm.weights()
    assert (default.repository, len(default.revision)) == ("Qwen/Qwen3-4B-Instruct-2507", 40)
    configure(S2S_LLM_REPOSITORY="google/gemma-3-4b-it", S2S_LLM_CONTEXT_LENGTH=2048, S2S_LLM_GATED=1)
    weights = AnyOnVllm.weights()
    assert (weights.repository, weights.revision, weights.token) == (
        "google/gemma-3-4b-it",
        "main",
        "HF_TOKEN",
    )
    assert AnyOnVllm().model_name == "gemma-3-4b-it"
    assert "--max-model-len 2048" in " ".join(vllm_flags(AnyOnVllm, settings()))
    configure(S2S_LLM_REVISION="v1.2")
    assert AnyOnVllm.weights().revision == "v1.2"
    assert Phi3.weights() == Phi3.spec.weights


FETCH = """
from services.llm.vllm import AnyOnVllm
from services.weights import fetch
print(fetch(AnyOnVllm.weights()))
"""


def test_a_gated_repository_is_fetched_with_a_token_and_refused_with_what_it_takes(tmp_path: Path) -> None:
    def fetched(**environ: str) -> subprocess.CompletedProcess[str]:
        hub_variables = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        return subprocess.run(
            [sys.executable, "-c", FETCH],
            cwd=ROOT,
            env={"PATH": "", "S2S_LLM_REPOSITORY": "somebody/gated", **hub_variables, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    with local_hub(
        {"somebody/gated": {"config.json": b"{}", "model.bin": b"not needed"}}, token="hf_me"
    ) as hub:
        refused = fetched()
        done = fetched(S2S_LLM_GATED="1", HF_TOKEN="hf_me")
    assert refused.returncode
    assert "S2S_LLM_GATED=1 and HF_TOKEN" in refused.stderr
    assert [file.name for file in Path(done.stdout.strip()).iterdir()] == ["config.json"]


@pytest.mark.parametrize("repository", ["gemma", "a/b/c", "https://huggingface.co/a/b", "a/b c"])
def test_what_can_be_no_repository_is_refused(configure: Callable[..., None], repository: str) -> None:
    configure(S2S_LLM_REPOSITORY=repository)
    with pytest.raises(Misconfigured, match="S2S_LLM_REPOSITORY"):
        settings()


@pytest.mark.parametrize(
    ("repository", "parser"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507", "hermes"),
        ("Qwen/Qwen2.5-7B-Instruct", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", None),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("google/gemma-3-4b-it", None),
    ],
)
def test_tools_are_there_where_vllm_can_parse_the_family_s_calls(
    configure: Callable[..., None], repository: str, parser: str | None
) -> None:
    configure(S2S_LLM_REPOSITORY=repository)
    assert tool_parser(AnyOnVllm, settings()) == parser
    assert AnyOnVllm().supports_tools == (parser is not None)
    flags = " ".join(vllm_flags(AnyOnVllm, settings()))
    assert ("--enable-auto-tool-choice" in flags) == (parser is not None)
    configure(S2S_LLM_TOOL_PARSER="pythonic")
    assert "--tool-call-parser pythonic" in " ".join(vllm_flags(AnyOnVllm, settings()))


def test_llama_has_tools_and_phi3_has_none(configure: Callable[..., None]) -> None:
    assert Llama().supports_tools
    assert not Phi3().supports_tools


def test_all_of_them_are_installed_from_one_lock_file() -> None:
    discover(Stage.LLM)
    models = [MODEL_REGISTRY[Stage.LLM][name] for name in ("vllm", "phi3", "llama")]
    assert {lock_file(model) for model in models} == {LOCKS / "llm-vllm.txt"}


def test_vllm_works_on_as_many_replies_as_the_container_takes() -> None:
    assert "--max-num-seqs 16" in " ".join(vllm_flags(Phi3, Settings()))
    assert "--max-num-seqs 64" in " ".join(vllm_flags(Phi3, Settings(llm={"concurrent_inputs": 64})))
