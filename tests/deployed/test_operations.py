"""The day-to-day commands, on a deployment as an operator has it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from grpclib import GRPCError, Status

from client.errors import ExitCode
from client.targets import FOUR_APPS
from local_cloud.events import Kind
from shared.deployment import COLD_WITHIN_S
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.paths import EXAMPLES, ROOT
from tests.support.s2s_command import S2S, refused, s2s
from tests.support.waiting import GIVE_UP_S, until

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
    if missing := [FOUR_APPS[APPS.index(app)] for app, deployed in deployed_apps().items() if not deployed]:
        copied.deploy_all(*missing, **SETTINGS)
    return copied


def status() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(s2s("status", "--json").stdout)
    return result


def hour_of(turns: int) -> dict[str, Any]:
    """The last hour, once it has so many turns: their lines in the log come behind their ends."""
    until(lambda: status()["last_hour"]["turns"] == turns)
    hour: dict[str, Any] = status()["last_hour"]
    return hour


def deployed_apps() -> dict[str, bool]:
    return {app["app"]: app["deployed"] for app in status()["apps"]}


def answered(output: str = "reply.mp3") -> None:
    assert s2s("turn", QUESTION, "--target", "modal", "-o", output).exit_code == 0


def uptimes_s() -> list[float]:
    """Of the services' containers, which are started where there are none."""
    warmed = json.loads(s2s("warm", "--json").stdout)
    return [engine["uptime_s"] for app in warmed.values() for engine in app["engines"]]


def scale_to_zero(project: Project) -> None:
    plane = project.cloud.plane
    for container in plane.containers():
        with suppress(GRPCError):  # it has ended meanwhile
            plane.kill(container.id)
    until(lambda: not plane.containers())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_status_of_what_has_scaled_to_zero_starts_nothing(project: Project) -> None:
    scale_to_zero(project)
    with project.events(Kind.STARTING) as started:
        shown = status()
    assert [(app["app"], app["deployed"], app["containers"]) for app in shown["apps"]] == [
        (app, True, 0) for app in APPS
    ]
    assert started == []


def test_warm_starts_a_container_of_each_app_and_status_shows_them(project: Project) -> None:
    warmed = json.loads(s2s("warm", "--json").stdout)
    assert {app: one["ready"] for app, one in warmed.items()} == dict.fromkeys(APPS, True)
    assert [one["model"] for one in warmed[ASR]["engines"]] == ["pocketsphinx en-us"]
    apps = status()["apps"]
    assert [app["containers"] for app in apps] == [1, 1, 1, 1]
    assert [app["model"] for app in apps][:2] == ["pocketsphinx en-us", "offline rules"]


def test_warm_starts_only_the_apps_it_is_given(project: Project) -> None:
    scale_to_zero(project)
    assert s2s("warm", "tts").exit_code == 0
    assert [app["containers"] for app in status()["apps"]] == [0, 0, 1, 0]


def test_after_warming_no_turn_meets_a_cold_start_and_status_sums_the_turns(project: Project) -> None:
    until(lambda: min(uptimes_s()) > COLD_WITHIN_S)  # until then a call counts as cold
    before = status()["last_hour"]
    with project.events(Kind.STARTING) as started:
        answered()
        assert s2s("turn", ROOT / "pyproject.toml", "--target", "modal").exit_code == ExitCode.BAD_INPUT
    assert started == []
    hour = hour_of(before["turns"] + 1)
    assert hour["outcomes"]["completed"] == before["outcomes"].get("completed", 0) + 1
    assert hour["cold_starts_by_stage"] == before["cold_starts_by_stage"]
    assert hour["first_audio_p50_ms"] > 0
    assert f"Last hour: {hour['turns']} turn" in s2s("status").stdout
    (cost,) = json.loads(s2s("cost", "--last-hour", "--json").stdout)["deployments"]  # of the four apps
    assert cost["turns"] == hour["turns"] + hour["speculative_cancelled"]
    assert all(app["dollars"] > 0 for app in cost["apps"])


def test_a_failed_turn_is_among_the_last_errors_with_its_stage(project: Project) -> None:
    before = status()["last_hour"]
    s2s("stop", "llm", "--yes")
    failed = s2s("turn", QUESTION, "--target", "modal")
    assert failed.exit_code == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in failed.stderr
    hour = hour_of(before["turns"] + 1)
    assert hour["failures_by_stage"]["llm"] == before["failures_by_stage"].get("llm", 0) + 1
    assert "make deploy-llm" in hour["errors"][0]["message"]
    assert deployed_apps() == {ASR: True, LLM: False, TTS: True, ORCHESTRATOR: True}
    warm = s2s("warm")
    assert warm.exit_code == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in " ".join(warm.stdout.split())


@contextmanager
def running(project: Project, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command in a process group of its own, which ends with the block."""
    with subprocess.Popen(
        [*S2S, *arguments],
        cwd=project.folder,
        env=project.environ(**SETTINGS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def interrupted(process: "subprocess.Popen[str]") -> str:
    """Press Ctrl-C; returns what the command then prints on standard error."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    return stderr


def test_logs_prints_the_last_hour_and_follows_what_comes(project: Project) -> None:
    answered()
    assert '"outcome": "completed"' in s2s("logs", "orchestrator").stdout
    assert {line.split()[0] for line in s2s("logs").stdout.splitlines()} >= {"orchestrator"}
    with running(project, "logs", "orchestrator", "--follow") as following:
        assert following.stdout
        lines = iter(following.stdout.readline, "")
        seen = sum('"outcome"' in line for line in s2s("logs", "orchestrator").stdout.splitlines())
        answered()
        for line in lines:
            seen -= '"outcome"' in line
            if seen < 0:
                break
        interrupted(following)


def test_logs_of_what_is_not_deployed_are_refused(project: Project) -> None:
    refused(s2s("logs", "monolith"), ExitCode.MISCONFIGURED, "Not deployed: speech-to-speech-monolith.")


@pytest.mark.parametrize("answer", ["n\n", ""], ids=["no", "end of input"])
def test_stop_without_a_yes_stops_nothing(project: Project, answer: str) -> None:
    result = s2s("stop", stdin=answer.encode())
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.stderr.splitlines()[-1] == (
        "s2s: Not confirmed, so nothing was done. Where nobody can answer, use --yes."
    )
    assert deployed_apps() == dict.fromkeys(APPS, True)


def test_stopping_leaves_no_app_and_no_container(project: Project) -> None:
    assert f"Stopped {ORCHESTRATOR}." in s2s("stop", stdin=b"y\n").stdout
    until(lambda: not project.cloud.plane.containers())
    assert "None of them is deployed." in s2s("stop", "--yes").stdout
    assert not any(deployed_apps().values())


def test_a_stop_that_fails_says_what_is_left_to_stop(project: Project) -> None:
    with project.cloud.plane.refuse("AppStop", Status.PERMISSION_DENIED, "you may only look"):
        result = s2s("stop", "asr", "llm", "--yes")
    refused(result, ExitCode.MISCONFIGURED, "you may only look")
    assert result.stderr.endswith(f"Left to stop: {ASR}, {LLM}.\n")


def test_a_deployment_that_fails_half_way_says_what_is_deployed_and_what_is_not(project: Project) -> None:
    s2s("stop", "tts", "--yes")
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
    assert deployed_apps()[TTS] is False


def test_an_interrupted_deployment_says_so_too(project: Project) -> None:
    module = project.folder / "services" / "llm_app.py"
    source = module.read_text()
    module.write_text("import time\ntime.sleep(600)")
    try:
        with project.events(Kind.DEPLOYED) as deployed, running(project, "deploy", "asr", "llm") as process:
            until(lambda: len(deployed) == 1)
            stderr = interrupted(process)
    finally:
        module.write_text(source)
    assert re.search(r"^s2s: Interrupted. (Deployed|In doubt): asr. (In doubt|Still .*): llm.$", stderr, re.M)


@pytest.mark.parametrize("command", ["status", "warm", "logs", "stop", "smoke", "deploy"])
def test_what_modal_refuses_is_a_line_with_its_reason_and_no_internal_error(
    project: Project, command: str
) -> None:
    with ExitStack() as refusals:
        for request in ("AppGetOrCreate", "AppGetByDeploymentName", "FunctionGet", "ClassGet"):
            refusals.enter_context(
                project.cloud.plane.refuse(request, Status.PERMISSION_DENIED, "you may only look")
            )
        result = s2s(command)
    assert result.exit_code == ExitCode.MISCONFIGURED, result.output
    assert "you may only look" in " ".join(result.output.split())
    assert "Internal error" not in result.output
    assert isinstance(result.exception, SystemExit)
