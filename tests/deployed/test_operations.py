"""The day-to-day commands, on a deployment as an operator has it."""

import json
from contextlib import ExitStack
from typing import Any

import pytest
from grpclib import Status

from client.errors import ExitCode
from client.targets import FOUR_APPS
from local_cloud.events import Kind
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.paths import EXAMPLES, ROOT
from tests.support.waiting import until

QUESTION = EXAMPLES / "what-is-two-plus-two.mp3"
APPS = [app.modal_name for app in FOUR_APPS]
ASR, LLM, TTS, ORCHESTRATOR = APPS
SETTINGS = {"TTS_MODEL": "espeak"}


@pytest.fixture(scope="module")
def copied(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_in(tmp_path_factory.mktemp("project"), cloud)


@pytest.fixture
def project(copied: Project) -> Project:
    """All four apps are deployed."""
    for app, deployed in deployed_apps(copied).items():
        if not deployed:
            copied.deploy(FOUR_APPS[APPS.index(app)], **SETTINGS)
    return copied


def status(project: Project) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(project.s2s("status", "--json", fails=None).stdout)
    return result


def deployed_apps(project: Project) -> dict[str, bool]:
    return {app["app"]: app["deployed"] for app in status(project)["apps"]}


def scale_to_zero(project: Project) -> None:
    plane = project.cloud.plane
    for container in plane.containers():
        plane.kill(container.id)
    until(lambda: not plane.containers())


def test_status_of_what_has_scaled_to_zero_starts_nothing(project: Project) -> None:
    scale_to_zero(project)
    with project.events(Kind.STARTING) as started:
        shown = status(project)
    assert [(app["app"], app["deployed"], app["containers"]) for app in shown["apps"]] == [
        (app, True, 0) for app in APPS
    ]
    assert started == []


def test_warm_starts_a_container_of_each_app_and_status_shows_them(project: Project) -> None:
    warmed = json.loads(project.s2s("warm", "--json").stdout)
    assert {app: one["ready"] for app, one in warmed.items()} == dict.fromkeys(APPS, True)
    assert [one["model"] for one in warmed[ASR]["engines"]] == ["pocketsphinx en-us"]
    apps = status(project)["apps"]
    assert [app["containers"] for app in apps] == [1, 1, 1, 1]
    assert [app["model"] for app in apps][:2] == ["pocketsphinx en-us", "offline rules"]


def test_warm_starts_only_the_apps_it_is_given(project: Project) -> None:
    scale_to_zero(project)
    project.s2s("warm", "tts")
    assert [app["containers"] for app in status(project)["apps"]] == [0, 0, 1, 0]


def test_after_warming_no_turn_meets_a_cold_start_and_status_sums_the_turns(project: Project) -> None:
    project.s2s("warm")
    before = status(project)["last_hour"]
    with project.events(Kind.STARTING) as started:
        project.s2s("turn", QUESTION, "--target", "modal")
        silent = project.s2s("turn", ROOT / "pyproject.toml", "--target", "modal", fails=True)
    assert silent.returncode == ExitCode.BAD_INPUT
    assert started == []
    hour = status(project)["last_hour"]
    assert hour["turns"] == before["turns"] + 1
    assert hour["outcomes"]["completed"] == before["outcomes"].get("completed", 0) + 1
    assert hour["cold_starts_by_stage"] == before["cold_starts_by_stage"]
    assert hour["first_audio_p50_ms"] > 0
    assert f"Last hour: {hour['turns']} turn" in project.s2s("status").stdout


def test_a_failed_turn_is_among_the_last_errors_with_its_stage(project: Project) -> None:
    before = status(project)["last_hour"]["failures_by_stage"].get("llm", 0)
    project.s2s("stop", "llm", "--yes")
    failed = project.s2s("turn", QUESTION, "--target", "modal", fails=True)
    assert failed.returncode == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in failed.stderr
    shown = status(project)
    assert shown["last_hour"]["failures_by_stage"]["llm"] == before + 1
    assert "make deploy-llm" in shown["last_hour"]["errors"][0]["message"]
    assert [app["deployed"] for app in shown["apps"]] == [True, False, True, True]
    warm = project.s2s("warm", fails=True)
    assert warm.returncode == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in " ".join(warm.stdout.split())


def test_logs_prints_what_the_containers_of_an_app_have_printed(project: Project) -> None:
    project.s2s("turn", QUESTION, "--target", "modal")
    assert '"outcome": "completed"' in project.s2s("logs", "orchestrator").stdout
    lines = project.s2s("logs").stdout.splitlines()
    assert {line.split()[0] for line in lines} >= {"orchestrator"}


def test_stop_without_an_answer_to_its_question_stops_nothing(project: Project) -> None:
    done = project.s2s("stop", fails=True)  # standard input is no terminal
    assert done.returncode == ExitCode.INTERRUPTED
    assert done.stderr.splitlines()[-1] == (
        "s2s: Not confirmed, so nothing was done. Where nobody can answer, use --yes."
    )
    assert deployed_apps(project) == dict.fromkeys(APPS, True)


def test_stopping_leaves_no_app_and_no_container(project: Project) -> None:
    assert f"Stopped {ORCHESTRATOR}." in project.s2s("stop", "--yes").stdout
    until(lambda: not project.cloud.plane.containers())
    assert "None of them is deployed." in project.s2s("stop", "--yes").stdout
    assert not any(deployed_apps(project).values())


def test_a_stop_that_fails_says_what_is_left_to_stop(project: Project) -> None:
    with project.cloud.plane.refuse("AppStop", Status.PERMISSION_DENIED, "you may only look"):
        done = project.s2s("stop", "asr", "llm", "--yes", fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    (line,) = done.stderr.splitlines()
    assert "you may only look" in line
    assert line.endswith(f"Left to stop: {ASR}, {LLM}.")


def test_a_deployment_that_fails_half_way_says_what_is_deployed_and_what_is_not(project: Project) -> None:
    project.s2s("stop", "tts", "--yes")
    module = project.folder / "services" / "llm_app.py"
    source = module.read_text()
    module.write_text("raise SystemExit('This module is broken.')")
    try:
        done = project.s2s("deploy", fails=True, **SETTINGS)
    finally:
        module.write_text(source)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.splitlines()[-1] == (
        "s2s: Deploying llm failed; the reason is above. Deployed: asr. "
        "Still the earlier version: llm, orchestrator. Not deployed: tts."
    )
    assert deployed_apps(project)[TTS] is False


COMMANDS = [["status"], ["warm"], ["logs"], ["stop", "--yes"], ["deploy", "tts"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("refused", "exit_code", "saying"),
    [(Status.PERMISSION_DENIED, ExitCode.MISCONFIGURED, "you may only look")],
    ids=["permission denied"],
)
def test_what_modal_refuses_is_a_line_with_its_reason_and_no_internal_error(
    project: Project, command: list[str], refused: Status, exit_code: ExitCode, saying: str
) -> None:
    requests = ("AppGetOrCreate", "AppGetByDeploymentName", "FunctionGet", "ClassGet", "SecretGetOrCreate")
    with ExitStack() as refusals:
        for request in requests:
            refusals.enter_context(project.cloud.plane.refuse(request, refused, saying))
        done = project.s2s(*command, fails=True, **SETTINGS)
    assert done.returncode == exit_code, done.stderr
    output = " ".join((done.stdout + done.stderr).split())
    assert saying in output
    assert "Internal error" not in output
    assert "Traceback" not in output
