from pathlib import Path

import pytest

import services.llm
from services.asr.whisper import WhisperASR
from services.selection import check_runs_here, discover, select
from services.tts.espeak import EspeakTTS
from services.tts.flite import FliteTTS
from services.tts.hibari import HibariTTS
from shared.engines import MODEL_REGISTRY
from shared.errors import Misconfigured, Stage
from shared.settings import Settings


def test_every_embedded_engine_is_discovered() -> None:
    discover()
    assert {"pocketsphinx", "whisper"} <= MODEL_REGISTRY[Stage.ASR].keys()
    assert {"rules"} <= MODEL_REGISTRY[Stage.LLM].keys()
    assert {"flite", "espeak"} <= MODEL_REGISTRY[Stage.TTS].keys()


def test_a_module_that_cannot_be_imported_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_library")
    monkeypatch.setattr(services.llm, "__path__", [*services.llm.__path__, str(tmp_path)])
    with pytest.raises(Misconfigured, match=r"services\.llm\.broken .*no_such_library"):
        discover()


def test_without_a_choice_engines_are_selected_that_need_nothing_else() -> None:
    chosen = select(Settings())
    assert (chosen.asr.name, chosen.llm.name, chosen.tts.name) == ("whisper", "rules", "hibari")


def test_pocketsphinx_is_the_default_where_the_neural_engines_are_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WhisperASR, "missing", lambda: "Python package: pip install faster-whisper")
    assert select(Settings()).asr.name == "pocketsphinx"
    assert select(Settings(modal_defaults="embedded"), on_modal=True).asr.name == "pocketsphinx"


def test_pocketsphinx_is_the_default_where_whispers_weights_have_not_been_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert select(Settings()).asr.name == "pocketsphinx"
    assert select(Settings(), before_fetching=True).asr.name == "whisper"
    assert select(Settings(modal_defaults="embedded"), on_modal=True).asr.name == "whisper"


def test_without_a_choice_what_is_deployed_to_modal_are_the_models_with_a_gpu() -> None:
    deployed = select(Settings(), on_modal=True)
    assert [model.name for model in deployed] == ["nemo", "phi3", "chatterbox"]
    assert all(model.spec.gpu for model in deployed)


@pytest.mark.needs("flite")
def test_what_is_deployed_can_be_the_embedded_engines_too() -> None:
    embedded = Settings(modal_defaults="embedded")
    assert select(embedded, on_modal=True) == select(embedded) == select(Settings())


def test_a_choice_is_followed_wherever_the_model_is_to_run() -> None:
    for settings in (Settings(asr_model="whisper"), Settings(asr_model="whisper", modal_defaults="embedded")):
        assert select(settings).asr.name == "whisper"
        assert select(settings, on_modal=True).asr.name == "whisper"


@pytest.mark.needs("flite")
def test_flite_is_the_voice_where_hibari_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HibariTTS, "missing", lambda: "hibari-tts")
    assert select(Settings()).tts.name == "flite"


def test_espeak_is_the_voice_where_neither_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HibariTTS, "missing", lambda: "hibari-tts")
    monkeypatch.setattr(FliteTTS, "missing", lambda: "libflite")
    assert select(Settings()).tts.name == "espeak"


def test_a_choice_is_followed_even_if_it_cannot_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EspeakTTS, "missing", lambda: "espeakng-loader")
    assert select(Settings(tts_model="espeak")).tts.name == "espeak"


def test_an_unknown_model_is_refused_with_its_variable_and_what_exists() -> None:
    with pytest.raises(Misconfigured) as caught:
        select(Settings(tts_model="nonsense"))
    assert caught.value.stage is Stage.TTS
    for part in ("TTS_MODEL=nonsense", "flite", "espeak"):
        assert part in caught.value.message
    assert "Do you mean" not in caught.value.message


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(Misconfigured, match=r"Do you mean pocketsphinx\?"):
        select(Settings(asr_model="PocketSfinx"))


def test_a_model_of_another_stage_is_refused_with_the_variable_it_belongs_to() -> None:
    with pytest.raises(Misconfigured, match="TTS_MODEL=flite") as caught:
        select(Settings(llm_model="flite"))
    assert caught.value.message.startswith("LLM_MODEL=flite")


def test_what_a_selected_engine_lacks_here_is_said_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selection = select(Settings(tts_model="flite"))
    monkeypatch.setattr(FliteTTS, "missing", lambda: "libflite: apt install libflite1")
    with pytest.raises(Misconfigured, match=r"TTS_MODEL=flite .*apt install libflite1"):
        check_runs_here(selection)


@pytest.mark.needs("flite")
def test_the_embedded_engines_run_here() -> None:
    check_runs_here(select(Settings()))
    check_runs_here(select(Settings(tts_model="espeak")))
