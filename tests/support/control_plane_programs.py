"""A control plane that tests share, and real modal programs for it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local_cloud import ControlPlane
from tests.support.python_programs import run_python


@dataclass(frozen=True)
class Cloud:
    """The control plane, and the `modal` command pointed at it."""

    plane: ControlPlane

    def modal(self, folder: Path, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder; it must succeed, or fail where that is what is wanted."""
        env = {**os.environ, **self.plane.environ, "PYTHONPATH": ""}
        done = run_python(["-m", "modal", *arguments], cwd=folder, env=env)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done

    def deploy(self, folder: Path, module: str, source: str) -> None:
        """Write a program and deploy it."""
        (folder / f"{module}.py").write_text(source)
        self.modal(folder, "deploy", "-m", module)
