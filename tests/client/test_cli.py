"""The command s2s as a whole: its help, its lists of models, and what holds for every command."""

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from client.cli import app
from client.errors import ExitCode
from shared.engines import EngineSpec
from tests.support.paths import EXAMPLES
from tests.support.s2s_command import S2S, s2s

EXAMPLE = EXAMPLES / "what-is-two-plus-two.mp3"
pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_models_lists_every_engine_and_where_it_is_selected() -> None:
    rows = json.loads(s2s("models", "--json", TTS_MODEL="espeak").stdout)
    assert {(row["stage"], row["name"]) for row in rows if row["selected"]} == {
        ("asr", "whisper"),
        ("llm", "rules"),
        ("tts", "espeak"),
    }
    assert {row["name"] for row in rows if row["selected_on_modal"]} == {"nemo", "phi3", "espeak"}
    assert {row["name"] for row in rows} >= {"flite", "espeak", "pocketsphinx", "rules"}


def test_models_tells_scripts_all_that_an_engine_says_of_itself() -> None:
    rows = {row["name"]: row for row in json.loads(s2s("models", "--json").stdout)}
    assert set(rows["llama"]) >= {field.name for field in fields(EngineSpec)} - {"modules", "lock"}
    assert rows["llama"]["weights"]["token"] == "HF_TOKEN"
    assert len(rows["llama"]["weights"]["revision"]) == 40
    assert rows["gpt4omini"]["secrets"] == ["OPENAI_API_KEY"]


def test_models_tells_which_weights_are_to_be_fetched(tmp_path: Path) -> None:
    rows = {
        row["name"]: row for row in json.loads(s2s("models", "--json", XDG_CACHE_HOME=str(tmp_path)).stdout)
    }
    assert rows["whisper"]["missing_here"] == "weights: ASR_MODEL=whisper s2s fetch-weights"
    assert rows["pocketsphinx"]["selected"]
    assert rows["pocketsphinx"]["missing_here"] is None


def test_models_shows_what_one_chooses_by_in_a_table_of_100_columns() -> None:
    lines = s2s("models", COLUMNS="100").stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 100
    table = " ".join(" ".join(lines).split())
    for told in (
        *("Modal LLM phi3", "A10G, 16 calls at once", "GPU snapshot", "@f39ac1d", "4,096 tokens"),
        *("vllm==0.32.0", "A10G or CPU", "nemo_toolkit[asr]==3.0.0", "24 kHz", "Secret: HF_TOKEN", "GPL-3.0"),
    ):
        assert told in table, told


def test_the_version_is_told() -> None:
    assert s2s("--version").stdout.startswith("speech-to-speech 0.")


COMMANDS = {
    "Talk": ["turn", "talk", "report", "devices", "serve"],
    "Deploy": ["models", "settings", "fetch-weights", "deploy", "smoke", "cost"],
    "Operate": ["status", "warm", "logs", "stop", "local-cloud"],
}


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_every_command_in_its_group(arguments: list[str]) -> None:
    shown = s2s(*arguments).output
    for group, commands in COMMANDS.items():
        (panel,) = re.findall(rf"─ {group} ─.*?╰", shown, re.DOTALL)
        assert re.findall(r"^│ ([a-z-]+) ", panel, re.MULTILINE) == commands
    assert len(typer.main.get_command(app).commands) == sum(map(len, COMMANDS.values()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [[], *([one] for group in COMMANDS.values() for one in group)])
def test_help_is_readable_on_80_columns(command: list[str]) -> None:
    shown = s2s(*command, "--help", COLUMNS="80", TERMINAL_WIDTH="80").output
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown  # nothing is cut
    assert re.search(r"^ {0,2}Usage: ", shown, re.MULTILINE)


def test_an_output_that_nobody_reads_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    quick = os.environ | {"ASR_MODEL": "pocketsphinx", "TTS_MODEL": "espeak"}
    for command in (["models"], ["models", "--json"], ["turn", EXAMPLE]):
        run = subprocess.run(
            [*S2S, *command], env=quick, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        assert (run.returncode, run.stderr) == (ExitCode.OUTPUT_NOT_WRITTEN, "")
    os.close(writer)


def test_a_closed_standard_input_is_refused() -> None:
    command = shlex.join([*S2S, "turn", "-"]) + " <&-"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert run.returncode == ExitCode.BAD_INPUT
    assert run.stderr.startswith("s2s: Standard input is")


def test_a_name_with_control_characters_cannot_move_the_cursor() -> None:
    result = s2s("turn", "\x1b[2Jquestion.wav")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stderr == "s2s: There is no file [2Jquestion.wav.\n"


@pytest.mark.parametrize("command", [["models"], ["settings"], ["report", "nowhere"], ["fetch-weights"]])
def test_every_command_logs_at_the_level_that_is_set(command: list[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        s2s(*command, S2S_LOG_LEVEL="DEBUG")
        assert root.level == logging.DEBUG
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.mark.parametrize("command", [["smoke"], ["status"], ["warm"]])
def test_without_the_library_modal_scripts_get_the_error_as_json(command: list[str]) -> None:
    code = f"import sys; sys.modules['modal'] = None; {S2S[2]}"
    run = subprocess.run(
        [sys.executable, "-c", code, *command, "--json"], capture_output=True, text=True, check=False
    )
    assert run.returncode == ExitCode.MISCONFIGURED
    assert json.loads(run.stdout)["error"]["kind"] == "misconfigured"
    assert "needs the library modal" in run.stderr


def test_the_shell_completes_commands_and_apps() -> None:
    for words, completions in (("s2s st", ["status", "stop"]), ("s2s logs mo", ["monolith"])):
        position = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        run = subprocess.run(
            S2S,
            env={**os.environ, "_S2S_COMPLETE": "complete_bash", **position},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout.split() == completions, run.stderr


def test_help_loads_neither_numpy_nor_engines_and_file_mode_no_sound_device() -> None:
    help_code = "import sys, client.cli; print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    file_code = (
        "import sys, client.commands.turn; print('sounddevice' in sys.modules, 'modal' in sys.modules)"
    )
    for code in (help_code, file_code):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.split() == ["False", "False"]
