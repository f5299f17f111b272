"""Virtual environments are shared by all who want the same contents, and kept while somebody uses them."""

import os
import platform
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from local_cloud.virtual_environments import KEPT_UNUSED_S, Contents, VirtualEnvironments
from tests.support.paths import ROOT

LOCKS = ROOT / "locks"

ONE = Contents(installs=(), site_files=(("one.py", b"name = 'one'"),))
OTHER = Contents(installs=(), site_files=(("one.py", b"name = 'other'"),))


def make_old(environment: Path) -> None:
    """Have nobody use it for as long as it is kept."""
    then = time.time() - KEPT_UNUSED_S - 60
    for file in (environment, *environment.glob(".complete")):
        os.utime(file, (then, then))


SOUND_LIBRARIES = """
import soundfile
for line in open("/proc/self/maps"):
    if "libsndfile" in line:
        print(line.split()[-1])
"""

INSTALL_SINGER = """
import sys
from pathlib import Path
from local_cloud.virtual_environments import Contents, VirtualEnvironments
python = VirtualEnvironments(Path(sys.argv[1])).interpreter("image", Contents((("singer",),)))
(wheel,) = python.parents[1].glob("lib/*/site-packages/singer-1.dist-info/WHEEL")
print(wheel.read_text())
"""


def module(interpreter: Path) -> bytes:
    (file,) = interpreter.parents[1].glob("lib/python*/site-packages/one.py")
    return file.read_bytes()


def loads_its_own_sound_library(environment: Path) -> bool:
    """Whether its soundfile loads the libsndfile that lies in the environment, and no other."""
    command = [str(environment / "bin" / "python"), "-c", SOUND_LIBRARIES]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {Path(library).is_relative_to(environment) for library in loaded.splitlines()} == {True}


def index_with(folder: Path, tag: str) -> str:
    """The address of an index that has one package, as a wheel for this platform tag."""
    project = folder / "singer"
    project.mkdir(parents=True)
    with zipfile.ZipFile(project / f"singer-1-{tag}.whl", "w") as wheel:
        wheel.writestr("singer-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: singer\nVersion: 1\n")
        wheel.writestr("singer-1.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr("singer-1.dist-info/RECORD", "")
    (project / "index.html").write_text(f'<a href="singer-1-{tag}.whl">singer-1-{tag}.whl</a>')
    return folder.as_uri()


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


@pytest.mark.parametrize("lock", ["base", "weights", "asr-pocketsphinx", "llm-gpt4omini", "tts-hibari"])
def test_a_containers_soundfile_loads_the_library_of_its_own_environment(lock: str, tmp_path: Path) -> None:
    contents = Contents(installs=(("-r", str(LOCKS / f"{lock}.txt")),))
    interpreter = VirtualEnvironments(tmp_path).interpreter("image", contents)
    assert loads_its_own_sound_library(interpreter.parents[1])


def test_the_projects_soundfile_loads_the_library_of_its_own_environment() -> None:
    assert loads_its_own_sound_library(Path(sys.prefix))


def test_the_main_indexs_wheel_with_libraries_goes_before_an_extra_indexs_wheel_without(
    tmp_path: Path,
) -> None:
    mine = f"py3-none-linux_{platform.machine()}"
    pip = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index_with(tmp_path / "main", mine),
        "PIP_EXTRA_INDEX_URL": index_with(tmp_path / "extra", "py3-none-any"),
    }
    command = [sys.executable, "-c", INSTALL_SINGER, str(tmp_path / "environments")]
    done = subprocess.run(command, env={**os.environ, **pip}, capture_output=True, text=True, check=True)
    assert f"Tag: {mine}" in done.stdout
