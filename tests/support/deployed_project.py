"""The project as its user has it, deployed to the local control plane: with engines of their own."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.cloud.deploy import MODULES
from client.targets import FOUR_APPS
from local_cloud.events import Event, Kind
from shared.deployment import APPS, CLASSES
from shared.errors import Stage
from tests.support.control_plane_programs import Cloud
from tests.support.paths import ROOT
from tests.support.python_programs import run_python
from tests.support.s2s_command import S2S

COMMAND_TIMEOUT_S = 300.0
DEPLOY = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module).app.deploy()
"""
SOURCES = ("shared", "services", "orchestrator", "conversation", "gateway", "client", "locks", "examples")


@dataclass(frozen=True)
class Project:
    """A folder with the project's sources, to which a test may add its own."""

    folder: Path
    cloud: Cloud

    def add_engine(self, stage: Stage, name: str, source: str) -> None:
        """Write a module of services/<stage>/: the engine is registered by its own decorator."""
        (self.folder / "services" / stage / f"{name}.py").write_text(source)

    def s2s(
        self, *arguments: str | Path, fails: bool | None = False, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with these settings. It must succeed, or fail with `fails`; None allows both."""
        return self._run([*self.command[1:], *map(str, arguments)], fails=fails, **settings)

    def deploy(self, app: str, **settings: str) -> None:
        """Deploy one app by Modal's own command: `s2s deploy` without its checks, in half the time."""
        self.modal("deploy", MODULES[app], **settings)

    def deploy_all(self, *apps: str, **settings: str) -> None:
        """Deploy these apps, or the four, from one process."""
        modules = [MODULES[app] for app in apps or FOUR_APPS]
        self._run(["-c", DEPLOY, *modules], fails=False, **settings)

    def modal(
        self, command: str, module: str, *arguments: str, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Modal's own command, deploy or run, on a module."""
        program = ["-m", "modal", command, "-m", module, *arguments]
        return self._run(program, fails=False, **settings)

    def _run(
        self, program: list[str], *, fails: bool | None, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        done = run_python(program, cwd=self.folder, env=self.environ(**settings), timeout_s=COMMAND_TIMEOUT_S)
        assert fails in (None, bool(done.returncode)), done.stdout + done.stderr
        return done

    @property
    def command(self) -> list[str]:
        return S2S

    def environ(self, **settings: str) -> dict[str, str]:
        """The environment of a command: the control plane, the settings, and these sources alone. The ASR
        is one without weights, which `deploy` does not fetch."""
        own = {"PYTHONPATH": str(self.folder), "ASR_MODEL": "pocketsphinx"}
        return {**os.environ, **self.cloud.plane.environ, **own, **settings}

    @contextmanager
    def events(self, *kinds: Kind) -> Iterator[list[Event]]:
        """Gather what happens on the control plane meanwhile."""
        seen: list[Event] = []
        lock = threading.Lock()

        def gather(event: Event) -> None:
            with lock:
                if not kinds or event.kind in kinds:
                    seen.append(event)

        self.cloud.plane.watch(gather)
        try:
            yield seen
        finally:
            self.cloud.plane.watch(_nobody)


def project_in(folder: Path, cloud: Cloud) -> Project:
    """Copy the project's sources into an empty folder."""
    for name in SOURCES:
        # The bytecode stays valid, but for what another process is just writing.
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    return Project(folder, cloud)


def remote(app: str, method: str) -> Any:
    """A method of a deployed app's class, as a program outside finds it."""
    import modal

    (cls,) = (CLASSES[stage] for stage in APPS if APPS[stage] == app)
    return getattr(modal.Cls.from_name(app, cls)(), method)


def _nobody(event: Event) -> None:
    """Watch no longer."""
