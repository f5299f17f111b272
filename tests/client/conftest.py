"""What the tests of the client share."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import loaded_engines


@pytest.fixture
def engines_stay_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is not how they are loaded."""
    loaded_engines.keep_loaded(monkeypatch)


@pytest.fixture
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not [child for child in psutil.Process().children() if "pocketsphinx" in " ".join(child.cmdline())]
