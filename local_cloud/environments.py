"""The virtual environment of each image, made from its pip layers, and what this machine substitutes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from local_cloud.cpu_packages import on_cpu
from local_cloud.image_layers import Recipe
from local_cloud.virtual_environments import Contents, EnvironmentFailed, VirtualEnvironments
from shared.engines import has_gpu


def _for_this_machine(contents: Contents) -> Contents:
    return contents if has_gpu() else on_cpu(contents)


@dataclass(frozen=True)
class Machine:
    """Where this machine differs from what images ask for. By default it installs what they ask for, on a
    machine without a GPU nothing for one, and adds nothing."""

    substituted: Callable[[Contents], Contents] = _for_this_machine
    """The contents of an image's environment here."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables that every container gets, unless its image sets them."""


class Environments:
    """One environment for each set of pip layers, shared by all users of the cache folder.

    It has what the image's layers install and what modal's own client needs, except for what the machine
    substitutes.
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._environments = VirtualEnvironments(folder)
        self._machine = machine

    async def interpreter(self, recipe: Recipe) -> Path:
        """Return the interpreter of the image's environment, made first if it is not there yet.

        Raises EnvironmentFailed.
        """
        if recipe.unsupported:
            raise EnvironmentFailed(f"the local cloud cannot run `{recipe.unsupported[0]}`")
        client = (f"modal=={version('modal')}",)
        return await self._made((client, *recipe.pip_installs), recipe)

    async def elsewhere(self, recipe: Recipe) -> dict[str, Path]:
        """Return the folders that stand for the image's environments at other paths, made first if they are
        not there yet.

        Raises EnvironmentFailed.
        """
        return {
            prefix: (await self._made(tuple(installs), recipe)).parents[1]
            for prefix, installs in _by_prefix(recipe).items()
        }

    async def _made(self, installs: tuple[tuple[str, ...], ...], recipe: Recipe) -> Path:
        used = {argument for install in installs for argument in install}
        files = tuple(file for file in recipe.requirement_files if file[0] in used)
        contents = self._machine.substituted(Contents(installs=installs, requirement_files=files))
        return await asyncio.to_thread(self._environments.interpreter, "image", contents)

    def close(self) -> None:
        """Abandon what is being installed."""
        self._environments.close()


def _by_prefix(recipe: Recipe) -> dict[str, list[tuple[str, ...]]]:
    installs: dict[str, list[tuple[str, ...]]] = {}
    for prefix, install in recipe.installs_elsewhere:
        installs.setdefault(prefix, []).append(install)
    return installs
