"""The gateway as deployed by its user: a server before the services, reached as any client reaches it."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE

import modal
import pytest
import websockets

from local_cloud import FunctionView
from services.on_modal.image_locks import GATEWAY_LOCK
from shared.deployment import GATEWAY_APP, GATEWAY_SERVER
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.realtime_client import QUESTION, Client, said
from tests.support.s2s_command import s2s
from tests.support.waiting import until

KEY = "a-key-of-the-tests"
MODELS = {"ASR_MODEL": "pocketsphinx", "LLM_MODEL": "rules", "TTS_MODEL": "espeak"}
ANSWER = "Two plus two is four."


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_in(tmp_path_factory.mktemp("project"), cloud)


@pytest.fixture(scope="module")
def without_key(project: Project) -> str:
    """What `s2s deploy` says where nobody has made a key."""
    return project.s2s("deploy", "gateway", fails=True, **MODELS).stderr


@pytest.fixture(scope="module")
def deployed(project: Project, without_key: str) -> Project:
    project.cloud.plane.create_secret("s2s-api-keys", {"S2S_API_KEYS": KEY})
    project.deploy_all("asr", "llm", "tts", **MODELS)
    project.s2s("deploy", "gateway", fails=False, **MODELS, S2S_REGION="eu")
    project.s2s("warm", "asr", "llm", "tts")
    return project


@pytest.fixture(scope="module")
def url(deployed: Project) -> str:
    url = modal.Server.from_name(GATEWAY_APP, GATEWAY_SERVER).get_url()
    assert url
    return url


def get(url: str, key: str | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def asked(project: Project) -> FunctionView:
    return project.cloud.plane.app(GATEWAY_APP).function(GATEWAY_SERVER)


def test_without_keys_it_is_not_deployed(without_key: str) -> None:
    assert "modal secret create s2s-api-keys S2S_API_KEYS=" in without_key


def test_it_asks_for_what_its_lock_file_pins_its_keys_and_one_container(deployed: Project) -> None:
    view = asked(deployed)
    assert view.secrets == ("s2s-api-keys",)
    assert (view.max_containers, view.target_inputs, view.regions) == (10, 50, ("eu",))
    assert [installs[-1].rsplit("/", 1)[-1] for installs in view.image.pip_installs] == [GATEWAY_LOCK.name]
    assert any(path.endswith("silero_vad_16k_op15.onnx") for path in view.mounted)
    assert KEY not in str(view.image)


def test_the_first_request_is_told_to_come_again_and_starts_a_container(url: str, deployed: Project) -> None:
    until(lambda: get(f"{url}/readyz") == (200, b"ready"))
    assert [one.app for one in deployed.cloud.plane.containers(GATEWAY_APP)] == [GATEWAY_APP]


def test_only_a_key_opens_it(url: str) -> None:
    until(lambda: get(f"{url}/readyz")[0] == 200)
    assert get(f"{url}/v1/models")[0] == 401
    status, body = get(f"{url}/v1/models", KEY)
    assert (status, json.loads(body)["object"]) == (200, "list")


async def test_a_spoken_question_is_answered_by_the_deployed_services(url: str) -> None:
    until(lambda: get(f"{url}/readyz")[0] == 200)
    await check_answer_of(url, KEY)


async def test_so_it_is_by_a_gateway_here_before_the_same_services(deployed: Project) -> None:
    serve = [*deployed.command, "serve", "--port", "0", "--target", "modal"]
    environ = deployed.environ(**MODELS)
    process = await asyncio.create_subprocess_exec(
        *serve, cwd=deployed.folder, env=environ, stdout=PIPE, stdin=DEVNULL
    )
    assert process.stdout
    try:
        async with asyncio.timeout(120):
            while b"API " not in (line := await process.stdout.readline()):
                assert line, "it has ended"
        await check_answer_of(line.split()[1].decode().removesuffix("/v1"), "none is needed")
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = await process.communicate()
    assert process.returncode == 0
    assert b"first audio" in rest


async def check_answer_of(url: str, key: str) -> None:
    address = url.replace("http://", "ws://") + "/v1/realtime?model=gpt-realtime"
    async with websockets.connect(address, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        client = Client(socket)
        await client.until("session.created")
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.speak(said(QUESTION))
        await client.until("response.done")
    (heard,) = client.of("conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == "what is two plus two"
    assert client.transcript == ANSWER
    assert len(client.audio) / 48_000 > 0.8


def test_it_has_the_page(url: str) -> None:
    until(lambda: get(f"{url}/readyz")[0] == 200)
    assert b"<!doctype html>" in get(f"{url}/")[1].lower()
    assert get(f"{url}/page/main.js")[0] == 200


def test_the_commands_know_of_it(url: str, deployed: Project) -> None:
    warmed = json.loads(s2s("warm", "gateway", "--json").stdout)
    assert warmed[GATEWAY_APP]["ready"]
    (smoke,) = json.loads(s2s("smoke", "gateway", "--json").stdout)
    assert (smoke["error"], len(smoke["calls"])) == (None, 2)
    assert url in smoke["calls"][0]["text"]
    status = json.loads(s2s("status", "--json").stdout)
    (gateway,) = [app for app in status["apps"] if app["app"] == GATEWAY_APP]
    assert (gateway["deployed"], gateway["containers"]) == (True, 1)
    assert status["last_hour"]["outcomes"] == {"completed": 1}
    assert '"outcome": "completed"' in s2s("logs", "gateway").stdout
    (cost,) = json.loads(s2s("cost", "--last-hour", "--json").stdout)["deployments"]
    assert (cost["name"], cost["turns"]) == ("gateway", 1)
    assert all(app["alive_s"] > 0 for app in cost["apps"])
    assert f"Stopped {GATEWAY_APP}." in s2s("stop", "gateway", "--yes").stdout
    until(lambda: not deployed.cloud.plane.containers(GATEWAY_APP))
