"""The command `s2s`, run in this process or as one of its own."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from client.cli import app
from shared.errors import Stage
from shared.settings import settings
from tests.support.python_programs import run_python

S2S = [sys.executable, "-c", "from client.cli import main; main()"]


def s2s(*arguments: str | Path, stdin: bytes | None = None, **variables: str) -> Result:
    """Run the command in this process."""
    settings.cache_clear()
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env=variables)
    settings.cache_clear()
    return result


def s2s_process(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which reads the file `.env` of its folder."""
    return run_python([*S2S[1:], *map(str, arguments)], cwd=cwd, env={**os.environ, **variables})


def s2s_with_engine(
    stage: Stage, source: str, *arguments: str | Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own with one engine more, "mine", which is selected: its module
    has this source. The others are those that load at once."""
    (folder / "mine.py").write_text(source)
    code = f"import services.{stage}; services.{stage}.__path__.append({str(folder)!r}); {S2S[2]}"
    others = {"ASR_MODEL": "pocketsphinx", "LLM_MODEL": "rules", "TTS_MODEL": "espeak"}
    env = {**os.environ, **others, f"{stage.upper()}_MODEL": "mine"}
    return run_python(["-c", code, *map(str, arguments)], cwd=Path.cwd(), env=env)


def refused(result: Result, exit_code: int, saying: str) -> None:
    """Check that the command has ended with this exit code, and one line that says this."""
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("s2s: ")
    assert saying in line
    assert "Traceback" not in result.output
