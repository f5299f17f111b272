"""A short chaos run; `make chaos TURNS=1000` is a long one."""

import json
import subprocess
import sys

import pytest

from tests.deployed.chaos.account import Account, Verdict
from tests.support.paths import ROOT


def test_in_the_midst_of_troubles_nothing_is_wrong_doubled_lost_or_leaked() -> None:
    pytest.importorskip("modal", reason="needs modal: pip install -e '.[cloud]'")
    command = [sys.executable, "-m", "tests.deployed.chaos", "--turns", "12", "--seed", "5", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert sum(account[verdict.name.lower()] for verdict in Verdict) == 12
    assert account["answered"]
    assert account["troubles"]


@pytest.mark.parametrize("fault", [Verdict.WRONG, Verdict.DOUBLED, Verdict.LOST])
def test_an_account_with_a_fault_is_not_clean(fault: Verdict) -> None:
    account = Account(turns=2, seed=1)
    account.verdicts.update([Verdict.ANSWERED, Verdict.FAILED])
    assert account.clean
    account.verdicts.update([fault])
    account.turns = 3
    assert not account.clean


def test_an_account_that_misses_a_turn_or_left_something_behind_is_not_clean() -> None:
    assert not Account(turns=1, seed=1).clean
    assert not Account(turns=0, seed=1, leaked_processes=1).clean
    assert not Account(turns=0, seed=1, leaked_calls=1).clean
