"""Flags and weights with which vLLM starts, or does not."""

import argparse
from importlib.metadata import version
from pathlib import Path

import pytest

from services.llm.vllm import VLLM_PACKAGES, AnyOnVllm, Llama, Phi3, VllmLLM, vllm_flags
from shared.errors import EngineLoadFailed, WeightsMissing
from shared.settings import Settings, settings
from tests.engines.hub_cache import put_into_hub_cache, use_hub_cache


@pytest.mark.parametrize("engine", [Phi3, Llama, AnyOnVllm])
def test_vllm_s_own_parser_accepts_the_flags_of_production(engine: type[VllmLLM]) -> None:
    options = parsed(vllm_flags(engine, Settings(vllm_flags="")))
    assert options.max_model_len == engine.spec.context_length
    assert options.performance_mode == "interactivity"
    assert options.enable_sleep_mode
    assert options.max_num_seqs == 16
    assert options.tool_call_parser == ("llama3_json" if engine is Llama else None)


def test_flags_of_the_setting_win() -> None:
    flags = "--gpu-memory-utilization 0.5 --no-enable-sleep-mode"
    options = parsed(vllm_flags(Phi3, Settings(vllm_flags=flags)))
    assert options.gpu_memory_utilization == 0.5
    assert not options.enable_sleep_mode


def test_the_vllm_of_these_tests_has_the_version_of_production() -> None:
    assert f"vllm=={version('vllm').partition('+')[0]}" == VLLM_PACKAGES[0]


def parsed(flags: list[str]) -> argparse.Namespace:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser: argparse.ArgumentParser = make_arg_parser(FlexibleArgumentParser())
    return parser.parse_args(["--model", "some/model", *flags])


def test_a_flag_that_vllm_does_not_know_fails_the_load_and_the_log_has_vllm_s_own_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("S2S_VLLM_FLAGS", "--no-such-flag")
    settings.cache_clear()
    with pytest.raises(EngineLoadFailed, match="ended with code 2"):
        Phi3().load()
    assert "--no-such-flag" in caplog.records[-1].message
    settings.cache_clear()


def test_missing_weights_are_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_hub_cache(tmp_path, monkeypatch)
    with pytest.raises(WeightsMissing, match="fetch-weights"):
        Phi3().load()


def test_damaged_weights_fail_the_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (damaged / name).write_text("{}")
    put_into_hub_cache(tmp_path, Phi3.weights(), damaged)
    use_hub_cache(tmp_path, monkeypatch)
    with pytest.raises(EngineLoadFailed, match="ended with code 1"):
        Phi3().load()
