"""`s2s settings`, and the file `.env` that all commands read."""

import json
from pathlib import Path
from typing import Any

import pytest

from client.errors import ExitCode
from tests.support.s2s_command import refused, s2s, s2s_process


def listed(*arguments: str, cwd: Path, **variables: str) -> dict[str, dict[str, Any]]:
    done = s2s_process("settings", "--json", *arguments, cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr
    return {row["variable"]: row for row in json.loads(done.stdout)}


def test_every_setting_is_listed_with_its_value_its_source_and_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("S2S_REGION=eu\nTTS_MODEL=flite\n")
    rows = listed(cwd=tmp_path, S2S_TTS_GPU="L4", TTS_MODEL="espeak")
    sources = {name: (row["value"], row["source"]) for name, row in rows.items()}
    assert sources["S2S_REGION"] == ("eu", ".env")
    assert sources["S2S_TTS_GPU"] == ("L4", "environment")
    assert sources["TTS_MODEL"] == ("espeak", "environment")  # which is stronger than the file
    assert sources["S2S_MONOLITH_MAX_CONTAINERS"] == (10, "default")
    assert rows["S2S_TTS_GPU"]["default"] is None
    assert [name for name, row in rows.items() if len(row["description"]) < 5] == []


def test_a_text_selects_settings_and_shows_what_they_are_for() -> None:
    output = " ".join(s2s("settings", "chunk_growth").stdout.split())
    assert "S2S_MAX_CHUNK_GROWTH" in output
    assert "Maximum growth from one chunk to the next." in output
    assert "S2S_REGION" not in output


def test_a_text_that_no_setting_has_is_refused() -> None:
    refused(s2s("settings", "nonsense"), ExitCode.MISCONFIGURED, "'nonsense'")


def test_a_key_in_the_env_file_is_found(tmp_path: Path) -> None:
    def missing() -> str | None:
        models = json.loads(s2s_process("models", "--json", cwd=tmp_path).stdout)
        (lacking,) = (model["missing_here"] for model in models if model["name"] == "gpt4omini")
        return lacking and str(lacking)

    assert missing() == "environment variable OPENAI_API_KEY"
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-test\n")
    assert missing() is None


@pytest.mark.parametrize("line", ["S2S_MAX_REPLY_TOKEN=5", "export S2S_MAX_REPLY_TOKEN=5"])
def test_a_mistyped_setting_in_the_env_file_is_refused_by_every_command(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(line)
    done = s2s_process("models", cwd=tmp_path)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stderr == ("s2s: S2S_MAX_REPLY_TOKEN: no such setting. Do you mean S2S_MAX_REPLY_TOKENS?\n")
