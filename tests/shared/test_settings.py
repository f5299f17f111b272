"""Settings: documented, checked, from the environment."""

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured, Stage
from shared.service_settings import ServiceSettings
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
    with pytest.raises(Misconfigured, match="S2S_MP3_BITRATE_KBPS='loud'"):
        settings()


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("S2S_TTS_GPUS", "S2S_TTS_GPU"),
        ("S2S_MAX_REPLY_TOKEN", "S2S_MAX_REPLY_TOKENS"),
        ("S2S_ORCHESTRATOR_MINCONTAINERS", "S2S_ORCHESTRATOR_MIN_CONTAINERS"),
        ("S2S_ASR_MODEL", "ASR_MODEL"),
        ("s2s_log_levle", "S2S_LOG_LEVEL"),
    ],
)
def test_a_mistyped_setting_is_refused_with_the_one_that_is_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Misconfigured, match=rf"^{name}: no such setting\. Do you mean {meant}\?$"):
        settings()


def test_a_name_like_no_setting_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_XYZ", "1")
    with pytest.raises(Misconfigured, match=r"^S2S_XYZ: no such setting\."):
        settings()


def test_small_letters_and_the_variables_of_the_tests_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("s2s_max_reply_tokens", "S2S_RECORDINGS", "S2S_FORBID_SKIPS", "S2SX"):
        monkeypatch.setenv(name, "7")
    assert settings().max_reply_tokens == 7


def test_a_container_ignores_a_setting_that_a_newer_client_knows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MODAL_IS_REMOTE", "1")
    monkeypatch.setenv("S2S_OF_TOMORROW", "1")
    monkeypatch.setenv("S2S_MAX_REPLY_TOKENS", "7")
    assert settings().max_reply_tokens == 7
    assert "S2S_OF_TOMORROW" in caplog.text


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
    with pytest.raises(Misconfigured, match="S2S_TTS_SCALEDOWN_WINDOW_S='1'"):
        settings()


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


@pytest.mark.parametrize(
    ("named", "voice"),
    [("alloy", "af_heart"), ("Marin", "bf_emma"), ("bm_george", "bm_george"), ("ash", None), ("", None)],
)
def test_a_voice_that_a_client_names_is_mapped_or_left_to_the_model(named: str, voice: str | None) -> None:
    assert Settings(voices="alloy=af_heart, marin=bf_emma bm_george").gateway_voice(named) == voice
