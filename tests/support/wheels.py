"""Wheels that tests have made, and pip pointed at them alone."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_wheel(folder: Path, name: str, files: Mapping[str, bytes], version: str = "1.0") -> None:
    """Write a pure Python wheel with these files, by their path in it."""
    about = f"{name.replace('-', '_')}-{version}"
    metadata = {
        f"{about}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}.dist-info/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{about}-py3-none-any.whl", "w") as wheel:
        for path, content in {**files, **metadata}.items():
            wheel.writestr(path, content)


def pip_environ(folder: Path) -> dict[str, str]:
    """The variables by which pip takes packages from the folder alone."""
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
