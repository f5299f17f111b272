"""What the README shows works as shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client.errors import ExitCode
from services.selection import EMBEDDED, ON_MODAL, discover
from shared.engines import MODEL_REGISTRY
from tests.support.paths import EXAMPLES, ROOT

README = (ROOT / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    (block,) = (str(block) for block in PYTHON_BLOCKS if text in block)
    return block


def test_the_turn_from_python_prints_the_question_and_its_answer() -> None:
    run = subprocess.run(
        [sys.executable, "-c", block_with("async def main")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    question, answer = run.stdout.lower().split("\n", 1)
    assert "two plus two" in question
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
    assert re.search(rf"^\| {code.value} \| \w", README, re.MULTILINE)
