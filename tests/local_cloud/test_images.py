"""What a container of the local control plane is made of: what its image says, and nothing else."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from local_cloud import ControlPlane
from tests.support.control_plane_programs import Cloud
from tests.support.waiting import GIVE_UP_S

Contents = tuple[set[str], str, str]

# The shape of the project's own apps: a lock file, settings baked in, sources last, nothing by itself.
PROGRAM = """
import modal

slim = modal.Image.debian_slim(python_version="3.11").apt_install("libsndfile1")

def finished(image):
    return image.env({"GREETING": "good day"}).add_local_python_source("shop")

locked = finished(slim.uv_pip_install(requirements=["locks/shop.txt"], extra_options="--require-hashes"))
from_a_folder = finished(slim.pip_install_from_requirements("locks/folder.txt", find_links="WHEELS"))
by_options = finished(
    slim.uv_pip_install("tinywheel", find_links="WHEELS", extra_index_url="file://WHEELS", pre=True)
)
app = modal.App("shop", include_source=False)

def contents():
    import importlib.metadata, os, shop.words
    names = {one.name.lower() for one in importlib.metadata.distributions()}
    return names, os.environ["GREETING"], shop.words.GREETING

@app.function(image=locked)
def with_lock():
    return contents()

@app.function(image=from_a_folder)
def with_folder():
    return contents()

@app.function(image=by_options)
def with_options():
    return contents()
"""
LOCK = """
iniconfig==2.3.0 \\
    --hash=sha256:f631c04d2c48c52b84d0d0549c99ff3859c98df65b3101406327ecc7d53fbf12
"""


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One whose environments are made anew."""
    with ControlPlane(cache=tmp_path_factory.mktemp("environments")) as plane:
        yield plane


@pytest.fixture(scope="module")
def contents(
    cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, modal.FunctionCall[Contents]]:
    """What each function's container has, by the function's name: all asked at once."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("shop", "locks", "wheels"):
        (folder / name).mkdir()
    write_wheel(folder / "wheels", "tinywheel")
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "words.py").write_text('GREETING = "from the mounted sources"\n')
    (folder / "shop" / "app.py").write_text(PROGRAM.replace("WHEELS", str(folder / "wheels")))
    (folder / "locks" / "shop.txt").write_text(LOCK)
    (folder / "locks" / "folder.txt").write_text("tinywheel==1.0\n")
    cloud.modal(folder, "deploy", "-m", "shop.app")
    names = ("with_lock", "with_folder", "with_options")
    return {name: modal.Function.from_name("shop", name).spawn() for name in names}


@pytest.mark.parametrize(
    ("name", "package", "other"),
    [
        ("with_lock", "iniconfig", "tinywheel"),
        ("with_folder", "tinywheel", "iniconfig"),
        ("with_options", "tinywheel", "iniconfig"),
    ],
)
def test_a_container_has_the_packages_of_its_lock_file_its_settings_and_its_sources_alone(
    contents: dict[str, modal.FunctionCall[Contents]], name: str, package: str, other: str
) -> None:
    names, setting, source = contents[name].get(timeout=GIVE_UP_S)
    assert package in names
    assert not names & {other, "pytest", "numpy", "speech-to-speech"}
    assert (setting, source) == ("good day", "from the mounted sources")


@pytest.mark.usefixtures("contents")
def test_a_lock_file_is_on_record_with_its_layer(cloud: Cloud) -> None:
    image = cloud.plane.app("shop").function("with_lock").image
    assert image.pip_installs == (("--require-hashes", "-r", "/.uv/0/shop.txt"),)
    assert image.commands[-1].startswith("ENV")
    assert any("apt-get install -y libsndfile1" in command for command in image.commands)


def write_wheel(folder: Path, name: str) -> None:
    """Write a package of one empty module, version 1.0, as a wheel."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
