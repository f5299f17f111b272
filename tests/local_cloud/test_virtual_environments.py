"""Virtual environments are shared by all who want the same contents, and kept while somebody uses them."""

import os
import time
from pathlib import Path

from local_cloud.virtual_environments import KEPT_UNUSED_S, Contents, VirtualEnvironments

ONE = Contents(installs=(), site_files=(("one.py", b"name = 'one'"),))
OTHER = Contents(installs=(), site_files=(("one.py", b"name = 'other'"),))


def make_old(environment: Path) -> None:
    """Have nobody use it for as long as it is kept."""
    then = time.time() - KEPT_UNUSED_S - 60
    for file in (environment, *environment.glob(".complete")):
        os.utime(file, (then, then))


def module(interpreter: Path) -> bytes:
    (file,) = interpreter.parents[1].glob("lib/python*/site-packages/one.py")
    return file.read_bytes()


def test_other_contents_under_the_same_name_leave_an_environment_as_it_is(tmp_path: Path) -> None:
    here, elsewhere = VirtualEnvironments(tmp_path), VirtualEnvironments(tmp_path)
    mine = here.interpreter("engine", ONE)
    theirs = elsewhere.interpreter("engine", OTHER)
    assert (module(mine), module(theirs)) == (b"name = 'one'", b"name = 'other'")
    assert here.is_made("engine", ONE)


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    environments = VirtualEnvironments(tmp_path)
    interpreter = environments.interpreter("engine", ONE)
    (interpreter.parents[1] / "models").mkdir()
    assert environments.interpreter("engine", ONE) == interpreter
    assert (environments.folder("engine", ONE) / "models").exists()


def test_what_nobody_has_used_for_weeks_is_removed_when_another_is_made(tmp_path: Path) -> None:
    environments = VirtualEnvironments(tmp_path)
    old = environments.interpreter("engine", ONE).parents[1]
    begun_long_ago = tmp_path / "engine-that-was-never-completed"
    begun_long_ago.mkdir()
    make_old(old)
    make_old(begun_long_ago)
    environments.interpreter("engine", OTHER)
    assert not old.exists()
    assert not begun_long_ago.exists()


def test_using_an_environment_keeps_it(tmp_path: Path) -> None:
    environments = VirtualEnvironments(tmp_path)
    used = environments.interpreter("engine", ONE).parents[1]
    make_old(used)
    environments.interpreter("engine", ONE)
    environments.interpreter("engine", OTHER)
    assert used.exists()
