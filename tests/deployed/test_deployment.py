"""The four apps, deployed as a user does it, answering real speech across processes."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from client.errors import ExitCode
from local_cloud.events import Kind
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.asr.pocketsphinx import PocketsphinxASR
from services.host.vad_gate import VadGate
from services.selection import select
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, encode_wav, resample
from shared.deployment import Health
from shared.errors import BadAudio, BadRequest, NoSpeech, Stage
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.turn import (
    ReplyDelta,
    SpeechChunk,
    StageWaiting,
    TranscriptReady,
    TurnCompleted,
    TurnEvent,
    TurnRequest,
    TurnResult,
    TurnStarted,
)
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in, remote
from tests.support.paths import EXAMPLES
from tests.support.s2s_command import s2s
from tests.support.waiting import until

QUESTION = EXAMPLES / "what-is-two-plus-two.mp3"
SILENCE = encode_wav(Pcm(np.zeros(16_000, np.float32), 16_000))


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = project_in(tmp_path_factory.mktemp("project"), cloud)
    project.s2s("deploy")
    return project


@dataclass
class Heard:
    """What a turn comes to, however it was played."""

    transcript: str
    reply: str
    chunks: list[tuple[int, int, str]]


def heard(events: list[TurnEvent]) -> Heard:
    return Heard(
        transcript="".join(event.text for event in events if isinstance(event, TranscriptReady)),
        reply="".join(event.text for event in events if isinstance(event, ReplyDelta)),
        chunks=[(one.index, one.segment, one.text) for one in events if isinstance(one, SpeechChunk)],
    )


def request_for(path: Path) -> TurnRequest:
    return TurnRequest(audio=encode_mp3(decode_audio(path.read_bytes(), Settings())))


def says_four(speech: Pcm) -> bool:
    """Whether the answer can be heard in it."""
    pcm = resample(speech, 16_000)
    asr = PocketsphinxASR()
    asr.load()
    try:
        return "four" in asr.transcribe(pcm)
    finally:
        asr.close()


def test_deploying_makes_four_apps(deployed: Project) -> None:
    plane = deployed.cloud.plane
    assert plane.app("speech-to-speech-asr").cls("ASR").methods == ("health", "transcribe")
    assert plane.app("speech-to-speech-llm").cls("LLM").methods == ("generate", "health")
    assert plane.app("speech-to-speech-tts").cls("TTS").methods == ("health", "synthesize")
    orchestrator = plane.app("speech-to-speech")
    assert orchestrator.cls("Orchestrator").methods == ("process_audio", "run_turn", "stream_turn", "warm")
    assert len(orchestrator.functions) == 1  # one pool: what is kept warm is kept warm for all of them


def test_a_cold_turn_starts_one_container_of_each_app_and_its_log_line_tells(deployed: Project) -> None:
    with deployed.events(Kind.STARTING) as started:
        answer = remote("speech-to-speech", "process_audio").remote(QUESTION.read_bytes())
    assert says_four(decode_audio(answer, Settings()))
    apps = ["speech-to-speech", "speech-to-speech-asr", "speech-to-speech-llm", "speech-to-speech-tts"]
    logs = "\n".join(deployed.cloud.plane.logs(app) for app in apps)
    assert sorted(event.app for event in started) == apps, logs
    # The others were woken meanwhile: each was cold unless it has been ready for a while when it is called.
    until(lambda: '"cold": "asr' in deployed.cloud.plane.logs("speech-to-speech"))


def test_audio_bytes_are_answered_by_audio_bytes(deployed: Project) -> None:
    for question in (QUESTION.read_bytes(), encode_wav(decode_audio(QUESTION.read_bytes(), Settings()))):
        answer = remote("speech-to-speech", "process_audio").remote(question)
        assert answer[:2] in (b"\xff\xf3", b"\xff\xfb")  # MP3, of MPEG 2 or 1
        assert says_four(decode_audio(answer, Settings()))


def test_audio_that_is_none_is_refused_and_costs_no_stage_anything(deployed: Project) -> None:
    with deployed.events(Kind.CALL) as calls, pytest.raises(BadAudio, match="no audio that can be read"):
        remote("speech-to-speech", "process_audio").remote(b"not audio at all" * 100)
    assert {event.app for event in calls} == {"speech-to-speech"}


def test_silence_is_told_as_no_speech_and_never_reaches_llm_or_tts(deployed: Project) -> None:
    with deployed.events(Kind.CALL) as calls, pytest.raises(NoSpeech) as error:
        remote("speech-to-speech", "process_audio").remote(SILENCE)
    assert not error.value.retryable
    assert not [event for event in calls if "generate" in event.text or "synthesize" in event.text]


def test_a_turn_has_a_result_with_all_that_was_said_and_where_the_time_went(deployed: Project) -> None:
    result: TurnResult = remote("speech-to-speech", "run_turn").remote(request_for(QUESTION))
    assert result.outcome == "completed"
    assert "two plus two" in result.transcript
    assert "four" in result.reply
    assert isinstance(result.audio, Mp3Audio)
    assert says_four(to_pcm(result.audio))
    assert {span.stage for span in result.ledger.spans} >= {Stage.ASR, Stage.LLM, Stage.TTS}
    assert (result.models.asr, result.models.llm) == ("pocketsphinx en-us", "offline rules")


async def test_the_events_come_in_order_and_say_what_the_same_turn_says_in_process(deployed: Project) -> None:
    request = request_for(EXAMPLES / "what-is-two-plus-two.mp3")
    settings = Settings(ASR_MODEL="pocketsphinx")
    async with InProcessStages(select(settings), settings) as engines:
        here = [event async for event in Pipeline(engines, settings).stream(request)]
    events = [e async for e in remote("speech-to-speech", "stream_turn").remote_gen.aio(request)]
    assert heard(events) == heard(here)
    told = [event for event in events if not isinstance(event, StageWaiting)]
    assert isinstance(told[0], TurnStarted)
    assert told[0].call_id.startswith("fc-")
    assert isinstance(told[1], TranscriptReady)
    assert {type(event) for event in told[2:-1]} == {ReplyDelta, SpeechChunk}
    assert isinstance(told[-1], TurnCompleted)
    assert all(isinstance(one.audio, Mp3Audio) for one in events if isinstance(one, SpeechChunk))


async def test_a_turn_may_only_transcribe_and_give_its_words_times(deployed: Project) -> None:
    wanted = {"transcribe_only": True, "word_times": True}
    request = request_for(EXAMPLES / "what-is-two-plus-two.mp3").model_copy(update=wanted)
    assert request.audio
    with deployed.events(Kind.CALL) as calls:
        events = [e async for e in remote("speech-to-speech", "stream_turn").remote_gen.aio(request)]
    (transcript,) = (event for event in events if isinstance(event, TranscriptReady))
    assert "two plus two" in transcript.text
    assert transcript.words
    assert [word.text.strip() for word in transcript.words] == transcript.text.split()
    assert 0.0 < transcript.words[0].start_s < transcript.words[-1].end_s < request.audio.duration_s
    assert isinstance(events[-1], TurnCompleted)
    assert not [call for call in calls if "generate" in call.text or "synthesize" in call.text]


def test_human_speech_is_understood(deployed: Project, recordings: Path) -> None:
    speech = decode_audio((recordings / "jfk.flac").read_bytes(), Settings())
    first_words = Pcm(speech.samples[: 8 * speech.sample_rate_hz].copy(), speech.sample_rate_hz)
    request = TurnRequest(audio=encode_mp3(first_words))
    result: TurnResult = remote("speech-to-speech", "run_turn").remote(request)
    assert "fellow america" in result.transcript
    assert result.outcome == "completed"


def test_a_request_that_is_none_is_refused(deployed: Project) -> None:
    with pytest.raises(BadRequest, match="TurnRequest"):
        remote("speech-to-speech", "run_turn").remote({"audio": b""})


def test_warming_starts_the_services_and_tells_what_they_are(deployed: Project) -> None:
    health: list[Health] = remote("speech-to-speech", "warm").remote()
    assert [one.stage for one in health] == [Stage.ASR, Stage.LLM, Stage.TTS]
    assert [one.name for one in health] == ["pocketsphinx", "rules", "hibari"]
    assert {one.device for one in health} == {"cpu"}
    assert health[0].versions["pocketsphinx"] == "5.1.1"
    assert health[0].load_s > 0
    assert len(deployed.cloud.plane.containers("speech-to-speech-asr")) >= 1


def test_modal_run_answers_a_file(deployed: Project, tmp_path: Path) -> None:
    output = tmp_path / "output.wav"
    done = deployed.cloud.modal(
        deployed.folder,
        *("run", "-m", "orchestrator.app", "--audio-path", str(QUESTION), "--output-path", str(output)),
    )
    assert "Two plus two is four." in done.stdout
    assert says_four(decode_audio(output.read_bytes(), Settings()))


def test_modal_run_says_what_is_wrong_with_a_file(deployed: Project) -> None:
    done = deployed.cloud.modal(
        deployed.folder, "run", "-m", "orchestrator.app", "--audio-path", "nowhere.wav", fails=True
    )
    assert "nowhere.wav" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_turn_plays_a_deployed_turn(deployed: Project, tmp_path: Path) -> None:
    output = tmp_path / "answer.wav"
    done = s2s("turn", QUESTION, "--target", "modal", "--json", "-o", output)
    told = json.loads(done.stdout)
    assert (told["outcome"], told["models"]["asr"]) == ("completed", "pocketsphinx en-us")
    assert says_four(decode_audio(output.read_bytes(), Settings()))
    shown = s2s("turn", QUESTION, "--target", "modal", "-o", output).stdout
    assert "Reply  Two plus two is four." in shown
    assert "first audio after" in shown


def test_the_command_smoke_has_every_app_answer_twice(deployed: Project) -> None:
    checks = json.loads(s2s("smoke", "--json").stdout)
    assert [check["app"].rpartition("-")[2] for check in checks] == ["asr", "llm", "tts", "speech"]
    assert [len(check["calls"]) for check in checks] == [2, 2, 2, 2]
    assert "two plus two" in checks[0]["calls"][0]["text"]
    assert "four" in checks[3]["calls"][1]["text"]
    assert not any(check["error"] for check in checks)


def test_the_readme_calls_it_from_python_as_shown(deployed: Project, tmp_path: Path) -> None:
    from tests.support.documentation import block_with

    (tmp_path / "question.wav").write_bytes(encode_wav(decode_audio(QUESTION.read_bytes(), Settings())))
    subprocess.run(
        [sys.executable, "-c", block_with('modal.Cls.from_name("speech-to-speech", "Orchestrator")')],
        cwd=tmp_path,
        env=deployed.environ(),
        check=True,
    )
    assert says_four(decode_audio((tmp_path / "answer.wav").read_bytes(), Settings()))


def test_a_service_that_is_not_deployed_is_named_with_the_command_that_deploys_it_and_found_again_then(
    deployed: Project,
) -> None:
    process_audio = remote("speech-to-speech", "process_audio")
    process_audio.remote(QUESTION.read_bytes())  # its container knows the service from now on
    deployed.cloud.modal(deployed.folder, "app", "stop", "--yes", "speech-to-speech-tts")
    try:
        result: TurnResult = remote("speech-to-speech", "run_turn").remote(request_for(QUESTION))
        assert result.outcome == "failed"
        assert result.failure
        assert (result.failure.stage, result.failure.kind) == (Stage.TTS, "misconfigured")
        assert "make deploy-tts" in result.failure.message
        assert "four" in result.reply
        smoke = s2s("smoke", "tts", "--json")
        assert smoke.exit_code == ExitCode.MISCONFIGURED
        assert "make deploy-tts" in json.loads(smoke.stdout)[0]["error"]["message"]
    finally:
        deployed.s2s("deploy", "tts")
    assert remote("speech-to-speech", "run_turn").remote(request_for(QUESTION)).outcome == "completed"
    assert says_four(decode_audio(process_audio.remote(QUESTION.read_bytes()), Settings()))


def test_the_model_to_be_added_of_the_readme_is_deployed_by_its_name_and_answers(
    deployed: Project, tmp_path: Path
) -> None:
    from tests.support.documentation import block_with

    deployed.add_engine(Stage.LLM, "parrot", block_with("class Parrot"))
    assert "parrot (Parrot), no GPU" in deployed.s2s("deploy", "llm", LLM_MODEL="parrot").stderr
    output = tmp_path / "answer.wav"
    told = json.loads(s2s("turn", QUESTION, "--target", "modal", "--json", "-o", output).stdout)
    assert (told["outcome"], told["models"]["llm"]) == ("completed", "Parrot")
    assert "two plus two" in told["reply"]
    assert told["reply"].split() == told["transcript"].split()
    assert VadGate().has_speech(resample(decode_audio(output.read_bytes(), Settings()), 16_000))
