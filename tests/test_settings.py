"""Settings: documented, checked, from the environment."""

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured
from shared.settings import Settings, settings


def test_models_are_selected_by_variables_without_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "whisper")
    assert Settings().asr_model == "whisper"


def test_every_other_setting_has_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_MAX_REPLY_TOKENS", "50")
    monkeypatch.setenv("MAX_REPLY_TOKENS", "60")
    assert Settings().max_reply_tokens == 50


def test_a_value_that_cannot_be_is_an_error_that_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_MP3_BITRATE_KBPS", "loud")
    settings.cache_clear()
    with pytest.raises(Misconfigured, match="S2S_MP3_BITRATE_KBPS='loud'"):
        settings()
    settings.cache_clear()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().max_audio_s = 5  # type: ignore[misc]
