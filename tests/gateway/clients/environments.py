"""Where each client runs: in an environment of its own, made from the file that pins it, and kept with those
of the engines."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local_cloud.virtual_environments import Contents, VirtualEnvironments
from tests.engines.environments import engines_cache
from tests.support.paths import ROOT

PROGRAMS = Path(__file__).parent


@dataclass(frozen=True)
class PythonClient:
    """`name.py`, and the packages of `name.txt`."""

    name: str

    def command(self, folder: Path) -> list[str]:
        """How the program starts; its environment is made first, if it is not there. Raises
        EnvironmentFailed."""
        contents = Contents(
            installs=(("-r", "requirements.txt"),),
            requirement_files=(("requirements.txt", (PROGRAMS / f"{self.name}.txt").read_bytes()),),
        )
        python = VirtualEnvironments(engines_cache()).interpreter(f"client-{self.name}", contents)
        return [str(python), "-m", f"{__package__}.{self.name}"]

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class NodeClient:
    """`name.mjs`, and the packages of package-lock.json."""

    name: str

    def command(self, folder: Path) -> list[str]:
        """How the program starts, in a copy in `folder`: Node looks for packages next to a program."""
        for program in PROGRAMS.glob("*.mjs"):
            shutil.copy(program, folder)
        (folder / "node_modules").symlink_to(_node_modules())
        return ["node", str(folder / f"{self.name}.mjs")]

    @property
    def environ(self) -> dict[str, str]:
        return dict(os.environ)


Client = PythonClient | NodeClient


def _node_modules() -> Path:
    manifests = [PROGRAMS / "package.json", PROGRAMS / "package-lock.json"]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in manifests)).hexdigest()[:24]
    folder = engines_cache() / f"client-node-{key}"
    if not folder.exists():
        making = folder.with_suffix(f".{os.getpid()}")
        making.mkdir(parents=True)
        for manifest in manifests:
            shutil.copy(manifest, making)
        subprocess.run(["npm", "ci", "--silent"], cwd=making, check=True)
        making.rename(folder)
    return folder / "node_modules"
