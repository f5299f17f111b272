"""The day-to-day commands, on a deployment as an operator has it."""

import json
from typing import Any

import pytest

from client.errors import ExitCode
from local_cloud.events import Kind
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.paths import EXAMPLES, ROOT
from tests.support.waiting import until

QUESTION = EXAMPLES / "what-is-two-plus-two.mp3"
APPS = ["speech-to-speech-asr", "speech-to-speech-llm", "speech-to-speech-tts", "speech-to-speech"]


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = project_in(tmp_path_factory.mktemp("project"), cloud)
    made.s2s("deploy", TTS_MODEL="espeak")
    return made


def status(project: Project, *, fails: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(project.s2s("status", "--json", fails=fails).stdout)
    return told


def test_status_of_what_has_scaled_to_zero_starts_nothing(project: Project) -> None:
    with project.events(Kind.STARTING) as started:
        told = status(project)
    assert [(app["app"], app["deployed"], app["containers"]) for app in told["apps"]] == [
        (app, True, 0) for app in APPS
    ]
    assert told["last_hour"]["turns"] == 0
    assert started == []


def test_warm_starts_a_container_of_each_app_and_status_shows_them(project: Project) -> None:
    warmed = json.loads(project.s2s("warm", "--json").stdout)
    assert {app: one["ready"] for app, one in warmed.items()} == dict.fromkeys(APPS, True)
    assert warmed["speech-to-speech-asr"]["model"] == "pocketsphinx en-us"
    apps = status(project)["apps"]
    assert [app["containers"] for app in apps] == [1, 1, 1, 1]
    assert [app["model"] for app in apps][:2] == ["pocketsphinx en-us", "offline rules"]
    assert all(app["since"] for app in apps)


def test_after_warming_no_turn_meets_a_cold_start_and_status_sums_the_turns(project: Project) -> None:
    with project.events(Kind.STARTING) as started:
        project.s2s("turn", QUESTION, "--target", "modal")
        silent = project.s2s("turn", ROOT / "pyproject.toml", "--target", "modal", fails=True)
    assert silent.returncode == ExitCode.BAD_INPUT
    assert started == []
    hour = status(project)["last_hour"]
    assert (hour["turns"], hour["outcomes"], hour["cold_starts_by_stage"]) == (1, {"completed": 1}, {})
    assert hour["first_audio_p50_ms"] > 0
    shown = project.s2s("status").stdout
    assert "Last hour: 1 turns: 1 completed." in shown


def test_a_failed_turn_is_among_the_last_errors_with_its_stage(project: Project) -> None:
    project.s2s("stop", "llm", "--yes")
    failed = project.s2s("turn", QUESTION, "--target", "modal", fails=True)
    assert failed.returncode == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in failed.stderr
    told = status(project, fails=True)
    assert told["last_hour"]["failures_by_stage"] == {"llm": 1}
    assert "make deploy-llm" in told["last_hour"]["errors"][0]["message"]
    assert [app["deployed"] for app in told["apps"]] == [True, False, True, True]
    warm = project.s2s("warm", fails=True)
    assert warm.returncode == ExitCode.MISCONFIGURED
    assert "make deploy-llm" in " ".join(warm.stdout.split())


def test_stopping_asks_first_and_then_leaves_nothing(project: Project) -> None:
    project.s2s("stop", fails=True)  # nobody answers the question
    assert len(project.cloud.plane.containers()) == 3
    assert "Stopped speech-to-speech." in project.s2s("stop", "--yes").stdout
    until(lambda: not project.cloud.plane.containers())
    assert "None of them is deployed." in project.s2s("stop", "--yes").stdout
    assert not any(app["deployed"] for app in status(project, fails=True)["apps"])
