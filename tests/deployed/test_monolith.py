"""The single-container variant: all stages in one container, each in a process and environment of its own."""

import json
import subprocess
import sys
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import modal
import psutil
import pytest
import websockets

from gateway.access import Access
from gateway.backend import deployed_backend
from gateway.server import Gateway
from gateway.serving import gateway_config
from local_cloud import FunctionView
from orchestrator.modal_stages import ModalStages
from services.llm.vllm import Phi3, vllm_flags
from services.on_modal.image_locks import LOCKS
from services.selection import select
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.deployment import MONOLITH_APP, MONOLITH_CLASS, Health
from shared.errors import BadAudio, Stage
from shared.payloads import ChatMessage
from shared.settings import Settings
from shared.stage_stream import StageStarted, Transcript
from shared.turn import StageWaiting, TurnCompleted, TurnEvent, TurnRequest, TurnResult, TurnStarted
from tests.support.answering_deployment import AnsweringProject, answering_project
from tests.support.answering_engines import reply_to
from tests.support.control_plane_programs import Cloud
from tests.support.documentation import block_with
from tests.support.paths import EXAMPLES
from tests.support.processes import descendants_with, is_running
from tests.support.realtime_client import QUESTION as SPOKEN_QUESTION
from tests.support.realtime_client import Client, said
from tests.support.s2s_command import s2s
from tests.support.serving import running
from tests.support.waiting import until_async

MODULE = "orchestrator.monolith_app"
QUESTION = EXAMPLES / "what-is-two-plus-two.mp3"
# An engine on the container's own Python, which a test can hold up, between two with environments of theirs.
MODELS = {"ASR_MODEL": "pocketsphinx", "LLM_MODEL": "answering", "TTS_MODEL": "espeak"}
REPLY = reply_to(0)


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> AnsweringProject:
    return answering_project(tmp_path_factory.mktemp("project"), cloud)


@pytest.fixture(scope="module")
def of_gpus(project: AnsweringProject) -> FunctionView:
    """What is asked of Modal for the models that people come for."""
    project.modal("deploy", MODULE, ASR_MODEL="nemo", LLM_MODEL="phi3", TTS_MODEL="chatterbox")
    return project.cloud.plane.app(MONOLITH_APP).cls(MONOLITH_CLASS)


@pytest.fixture(scope="module")
def deployed(project: AnsweringProject, of_gpus: FunctionView) -> AnsweringProject:
    project.s2s("deploy", "monolith", fails=False, **MODELS)  # over the other one
    return project


def monolith() -> Any:
    return modal.Cls.from_name(MONOLITH_APP, MONOLITH_CLASS)()


def request() -> TurnRequest:
    return TurnRequest(audio=encode_mp3(decode_audio(QUESTION.read_bytes(), Settings())))


def engines_of(project: AnsweringProject) -> list[psutil.Process]:
    """The engines' processes of the containers that run."""
    pids = [one.pid for one in project.cloud.plane.containers(MONOLITH_APP) if one.pid]
    return [one for pid in pids for one in descendants_with("engine_process_worker", pid)]


def test_one_gpu_holds_all_engines_and_no_snapshot_is_taken(of_gpus: FunctionView) -> None:
    assert (of_gpus.gpu, of_gpus.gpu_count) == ("A10G", 1)
    assert (of_gpus.memory_snapshot, of_gpus.gpu_snapshot) == (False, False)
    assert of_gpus.volumes == {"/weights": "speech-to-speech-weights"}
    assert (of_gpus.target_inputs, of_gpus.max_inputs) == (4, 5)


def test_each_engine_is_installed_from_its_lock_file_into_an_environment_of_its_own(
    of_gpus: FunctionView,
) -> None:
    for name, lock in (
        ("asr-nemo", "asr-nemo"),
        ("llm-phi3", "llm-vllm"),
        ("tts-chatterbox", "tts-chatterbox"),
    ):
        folder = f"/engines/{name}"
        assert (LOCKS / f"{lock}.txt").exists()
        assert f"RUN python -m venv --without-pip {folder}" in of_gpus.image.commands
        assert folder in of_gpus.image.installs_elsewhere
        assert of_gpus.image.env[f"{name[:3].upper()}_PYTHON"] == f"{folder}/bin/python"
    assert len(of_gpus.image.pip_installs) == 1  # the orchestrator's own
    assert "g++" in "\n".join(of_gpus.image.commands)  # a system package of vLLM's


def test_vllm_takes_the_share_of_the_gpu_that_leaves_room_for_the_others() -> None:
    from orchestrator.monolith_app import VLLM_FLAGS

    flags = vllm_flags(Phi3, Settings(vllm_flags=VLLM_FLAGS))
    shares = [value for flag, value in pairwise(flags) if "utilization" in flag]
    assert float(shares[-1]) < 0.6  # the last one wins


def test_audio_is_answered_by_audio_and_one_container_does_all_of_it(deployed: AnsweringProject) -> None:
    answer = monolith().process_audio.remote(QUESTION.read_bytes())
    assert decode_audio(answer, Settings()).duration_s > 3
    assert [one.app for one in deployed.cloud.plane.containers()] == [MONOLITH_APP]


def test_each_engine_runs_on_the_python_that_has_its_packages(deployed: AnsweringProject) -> None:
    health: list[Health] = monolith().warm.remote()
    assert [one.name for one in health] == list(MODELS.values())
    assert health[0].versions["pocketsphinx"] == "5.1.1"
    assert health[2].versions["espeakng-loader"] == "0.2.4"
    assert len({engine.cmdline()[0] for engine in engines_of(deployed)}) == 3


def test_a_turn_has_a_result_with_all_that_was_said(deployed: AnsweringProject) -> None:
    result: TurnResult = monolith().run_turn.remote(request())
    assert (result.outcome, result.transcript, result.reply) == ("completed", "what is two plus two", REPLY)
    assert {span.stage for span in result.ledger.spans} >= {Stage.ASR, Stage.LLM, Stage.TTS}


async def test_the_events_of_a_turn_come_as_they_do_from_the_four_apps(deployed: AnsweringProject) -> None:
    events = [event async for event in monolith().stream_turn.remote_gen.aio(request())]
    assert isinstance(events[0], TurnStarted)
    assert isinstance(events[-1], TurnCompleted)
    assert not [event for event in events if isinstance(event, StageWaiting)]


async def test_its_stages_can_be_called_one_by_one_and_stop_when_they_are_left(
    deployed: AnsweringProject,
) -> None:
    question, audio = ChatMessage(role="user", content="7"), request().audio
    assert audio
    async with ModalStages(Settings(), in_monolith=True) as stages:
        heard = [item async for item in stages.transcribe(audio, word_times=True)]
        (transcript,) = [item for item in heard if isinstance(item, Transcript)]
        assert transcript.text == "what is two plus two"
        assert transcript.words
        assert [word.text.strip() for word in transcript.words] == transcript.text.split()
        deployed.points.order("llm-middle", 7, "hold")
        async with aclosing(stages.generate([question], max_tokens=50, temperature=0.0)) as items:
            started = await anext(items)
            assert isinstance(started, StageStarted)
            assert started.call_id
    deployed.points.release("llm-middle", 7)
    plane = deployed.cloud.plane
    await until_async(lambda: not any(one.running_inputs for one in plane.containers()))
    assert not deployed.points.times_reached("llm-end", 7)


def test_an_error_is_the_same_as_that_of_the_four_apps(deployed: AnsweringProject) -> None:
    with pytest.raises(BadAudio, match="no audio that can be read"):
        monolith().process_audio.remote(b"not audio at all" * 100)


async def test_a_cancelled_turn_stops_in_the_engine(deployed: AnsweringProject) -> None:
    reached = deployed.points.times_reached("llm-end", 0)
    deployed.points.order("llm-middle", 0, "hold")
    held = deployed.points.times_reached("llm-middle", 0)
    call = await monolith().run_turn.spawn.aio(request())
    await until_async(lambda: deployed.points.times_reached("llm-middle", 0) > held)
    await call.cancel.aio()
    plane = deployed.cloud.plane
    await until_async(lambda: not any(one.running_inputs for one in plane.containers()))
    await until_async(lambda: deployed.points.times_reached("llm-cancelled", 0))
    deployed.points.release("llm-middle", 0)
    assert (await monolith().run_turn.remote.aio(request())).outcome == "completed"
    assert deployed.points.times_reached("llm-end", 0) == reached + 1  # by the second one


async def test_a_realtime_session_before_it_asks_aloud_types_and_cancels(deployed: AnsweringProject) -> None:
    settings = Settings(LLM_MODEL="rules", TTS_MODEL="espeak")  # for names alone: the monolith has the models
    async with (
        deployed_backend(select(settings), settings, in_monolith=True) as backend,
        running(gateway_config(Gateway(backend, Access(settings)).app)) as port,
        websockets.connect(f"ws://127.0.0.1:{port}/v1/realtime") as socket,
    ):
        client = Client(socket)
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.speak(said(SPOKEN_QUESTION))
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        (heard,) = client.of("conversation.item.input_audio_transcription.completed")
        assert (heard["transcript"], client.transcript) == ("what is two plus two", REPLY)
        assert len(client.audio) / 48_000 > 3

        content = [{"type": "input_text", "text": "And 9?"}]
        await client.send(
            "conversation.item.create", item={"type": "message", "role": "user", "content": content}
        )
        deployed.points.order("llm-middle", 9, "hold")
        await client.send("response.create")
        await until_async(lambda: deployed.points.times_reached("llm-middle", 9))
        await client.send("response.cancel")
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        await until_async(lambda: deployed.points.times_reached("llm-cancelled", 9))
    deployed.points.release("llm-middle", 9)
    assert not deployed.points.times_reached("llm-end", 9)


async def test_an_engine_that_dies_fails_its_turn_and_the_container_is_replaced(
    deployed: AnsweringProject,
) -> None:
    before = engines_of(deployed)
    deployed.points.order("llm-middle", 0, "die")
    events: list[TurnEvent] = []
    async with aclosing(monolith().stream_turn.remote_gen.aio(request())) as told:
        async for event in told:
            events.append(event)
    failure = events[-1].to_error()  # type: ignore[union-attr]
    assert (failure.stage, failure.retryable) == (Stage.LLM, True)
    assert "The process of answering ended with code 3" in failure.message
    assert (await monolith().run_turn.remote.aio(request())).outcome == "completed"
    await until_async(lambda: not any(map(is_running, before)))


def test_the_readme_calls_it_from_python_as_shown(deployed: AnsweringProject, tmp_path: Path) -> None:
    (tmp_path / "question.wav").write_bytes(QUESTION.read_bytes())
    code = block_with('"speech-to-speech-monolith", "Monolith"')
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=deployed.environ(), check=True)
    assert decode_audio((tmp_path / "answer.mp3").read_bytes(), Settings()).duration_s > 3


def test_the_commands_know_of_it(deployed: AnsweringProject) -> None:
    output = deployed.folder / "answer.mp3"
    turn = ("turn", QUESTION, "--target", "monolith", "-o", output)
    assert json.loads(s2s(*turn, "--json").stdout)["reply"] == REPLY
    status = json.loads(s2s("status", "--json").stdout)
    assert [(app["app"], app["containers"]) for app in status["apps"] if app["deployed"]] == [
        (MONOLITH_APP, 1)
    ]
    assert [app["model"] for app in status["apps"]][:3] == ["", "", ""]  # they are in the monolith
    assert "pocketsphinx en-us" in status["apps"][-1]["model"]
    assert status["last_hour"]["outcomes"]["completed"] >= 3
    warmed = json.loads(s2s("warm", "monolith", "--json").stdout)
    assert [engine["name"] for engine in warmed[MONOLITH_APP]["engines"]] == list(MODELS.values())
    (smoke,) = json.loads(s2s("smoke", "monolith", "--json").stdout)
    assert (smoke["app"], smoke["error"], len(smoke["calls"])) == (MONOLITH_APP, None, 2)
    assert REPLY in smoke["calls"][0]["text"]
    assert '"outcome": "completed"' in s2s("logs", "monolith").stdout
    assert f"Stopped {MONOLITH_APP}." in s2s("stop", "monolith", "--yes").stdout
    assert "make deploy-monolith" in s2s(*turn).stderr


def test_modal_run_answers_a_file_with_nothing_deployed(project: AnsweringProject) -> None:
    output = project.folder / "output.wav"
    arguments = ("--audio-path", str(QUESTION), "--output-path", str(output))
    done = project.modal("run", MODULE, *arguments, **MODELS)
    assert f"Reply: {REPLY}" in done.stdout
    assert decode_audio(output.read_bytes(), Settings()).duration_s > 3
