"""Where vLLM keeps what it has compiled."""

import pytest

from services.llm.vllm_server import vllm_environ


def test_in_a_container_on_modal_it_is_kept_in_the_volume_with_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODAL_TASK_ID", "ta-1")
    monkeypatch.setenv("HF_HUB_CACHE", "/weights")
    assert vllm_environ(5.0)["VLLM_CACHE_ROOT"] == "/weights/vllm"


def test_elsewhere_it_is_kept_where_the_user_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODAL_TASK_ID", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", "/home/somebody/models")
    assert "VLLM_CACHE_ROOT" not in vllm_environ(5.0)
