"""Settings: documented, checked, from the environment."""

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured, Stage
from shared.settings import ServiceSettings, Settings, settings


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


def test_each_app_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_TTS_MIN_CONTAINERS", "2")
    monkeypatch.setenv("S2S_ASR_GPU", "L4")
    assert Settings().service(Stage.TTS).min_containers == 2
    assert Settings().service(Stage.ASR) == ServiceSettings(gpu="L4")
    assert Settings().service(Stage.ORCHESTRATOR) == ServiceSettings()


def test_a_value_that_an_app_cannot_have_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_TTS_SCALEDOWN_WINDOW_S", "1")
    settings.cache_clear()
    with pytest.raises(Misconfigured, match="S2S_TTS_SCALEDOWN_WINDOW_S='1'"):
        settings()
    settings.cache_clear()


def test_the_environment_of_settings_makes_the_same_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Settings(
        ASR_MODEL="whisper",
        log_json=True,
        stage_waiting_after_s=0.25,
        region="eu",
        tts=ServiceSettings(gpu="L4", cpu=2.5),
    )
    variables = made.environ()
    assert set(variables) == {
        *("ASR_MODEL", "S2S_LOG_JSON", "S2S_STAGE_WAITING_AFTER_S"),
        *("S2S_REGION", "S2S_TTS_GPU", "S2S_TTS_CPU"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == made
