"""What README and docs/ show works as shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.cli import app
from client.errors import ExitCode
from orchestrator.pipeline import Pipeline
from services.selection import EMBEDDED, ON_MODAL, discover
from shared.engines import MODEL_REGISTRY
from shared.payloads import Tool, ToolCall
from shared.settings import Settings, by_variable
from tests.support.documentation import DOCUMENTS, README, block_with
from tests.support.paths import EXAMPLES, ROOT
from tests.support.scripted_stages import REQUEST, cast, typed
from tests.support.virtual_clock import play

pytestmark = pytest.mark.slow


def test_the_turn_from_python_prints_the_question_and_its_answer() -> None:
    run = subprocess.run(
        [sys.executable, "-c", block_with("async def main")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    question, answer = run.stdout.lower().split("\n", 1)
    assert "2 plus 2" in question
    assert "four" in answer


def test_the_model_to_be_added_is_selected_and_answers(tmp_path: Path) -> None:
    (tmp_path / "parrot.py").write_text(block_with("class Parrot"))
    with_parrot = (
        f"import services.llm; services.llm.__path__.append({str(tmp_path)!r});"
        "from client.cli import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", with_parrot, "turn", EXAMPLES / "what-is-two-plus-two.mp3", "--json"],
        env={**os.environ, "LLM_MODEL": "parrot"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    assert told["models"]["llm"] == "Parrot"
    assert told["reply"].split() == told["transcript"].split()


def test_the_model_table_lists_every_engine_that_exists_and_the_defaults() -> None:
    discover()
    for stage, models in MODEL_REGISTRY.items():
        (row,) = re.findall(rf"^\| {stage.upper()} \|.*$", README, re.MULTILINE)
        _, _, _, names, in_process, on_modal, _ = row.split("|")
        assert set(re.findall("`(.+?)`", names)) == models.keys()
        assert tuple(re.findall("`(.+?)`", in_process)) == EMBEDDED[stage]
        assert on_modal.strip() == f"`{ON_MODAL[stage]}`"


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_explained(code: ExitCode) -> None:
    assert re.search(rf"^\| {code.value} \| \w", DOCUMENTS[Path("docs/cli.md")], re.MULTILINE)


def test_the_tools_that_the_llm_calls_are_run_and_their_results_answered() -> None:
    namespace: dict[str, Any] = {}
    exec(block_with("run_tool"), namespace)
    call = ToolCall(call_id="call_1", name="weather", arguments='{"city": "Oslo"}')
    scripted = cast(llm=[[*typed("Let me look. "), call], typed("It is twelve degrees.")])

    async def run_tool(asked: ToolCall) -> str:
        assert asked == call
        return "12 degrees"

    async def answered() -> str:
        request = REQUEST.model_copy(update={"tools": (Tool(name="weather", description="", parameters={}),)})
        return str(await namespace["answer"](Pipeline(scripted, Settings()), request, run_tool))

    assert play(answered()) == "Let me look. It is twelve degrees."
    assert scripted.llm.calls[1].given["messages"][-1].content == "12 degrees"


def test_links_lead_somewhere() -> None:
    for path, text in DOCUMENTS.items():
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (ROOT / path.parent / target).exists(), f"{path}: {target}"


def commands_shown() -> list[tuple[str, ...]]:
    lines = (line for text in DOCUMENTS.values() for line in re.findall(r"^\$ (.*)", text, re.MULTILINE))
    found = (re.search(r"\bs2s( --local-cloud)? ([a-z-]+)([^#|]*)", line) for line in lines)
    return sorted({(one[2], *re.findall(r"--[a-z-]+", one[3])) for one in found if one})


@pytest.mark.parametrize("command", commands_shown(), ids=" ".join)
def test_the_commands_and_options_that_are_shown_exist(command: tuple[str, ...]) -> None:
    run = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200"})
    assert run.exit_code == 0, run.output
    assert all(option in run.output for option in command[1:])


def test_the_make_targets_that_are_shown_exist() -> None:
    shown = {one for text in DOCUMENTS.values() for one in re.findall(r"(?:`|\$ )make ([a-z-]+)", text)}
    makefile = (ROOT / "Makefile").read_text()
    assert {one for one in shown if not re.search(rf"^{one}:", makefile, re.MULTILINE)} == set()


def test_the_settings_that_are_shown_exist() -> None:
    shown = {
        one for text in DOCUMENTS.values() for one in re.findall(r"\bS2S_[A-Z0-9_]*[A-Z0-9]\b(?!_?…)", text)
    }
    assert shown - dict(by_variable(Settings().model_dump())).keys() == set()
