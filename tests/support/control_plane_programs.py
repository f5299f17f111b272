"""A control plane that tests share, and real modal programs for it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from local_cloud import ControlPlane
from tests.support.waiting import GIVE_UP_S


@dataclass(frozen=True)
class Cloud:
    """The control plane, and the `modal` command pointed at it."""

    plane: ControlPlane

    def modal(self, folder: Path, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder; it must succeed, or fail where that is what is wanted."""
        done = subprocess.run(
            [sys.executable, "-m", "modal", *arguments],
            cwd=folder,
            env={**os.environ, **self.plane.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=GIVE_UP_S,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done

    def deploy(self, folder: Path, module: str, source: str) -> None:
        """Write a program and deploy it."""
        (folder / f"{module}.py").write_text(source)
        self.modal(folder, "deploy", "-m", module)
