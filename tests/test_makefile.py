"""The Makefile's switches, by what a target would run."""

import os
import subprocess

import pytest

from tests.support.paths import ROOT


def commands(*arguments: str) -> list[str]:
    """What make would run after the set-up."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/ready", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("answer", ["", "0", "no", "false"])
def test_a_switch_that_is_off_is_off(answer: str) -> None:
    assert commands("smoke", f"LOCAL={answer}") == [".venv/bin/s2s smoke "]
    assert commands("logs-llm", f"LOCAL={answer}", f"FOLLOW={answer}") == [".venv/bin/s2s logs llm"]


@pytest.mark.parametrize("answer", ["1", "yes"])
def test_a_switch_that_is_on_is_on(answer: str) -> None:
    assert commands("deploy-all", f"LOCAL={answer}") == [".venv/bin/s2s --local-cloud deploy"]
    followed = commands("logs-llm", f"LOCAL={answer}", f"FOLLOW={answer}")
    assert followed == [".venv/bin/s2s --local-cloud logs --follow llm"]
