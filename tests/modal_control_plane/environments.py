"""The virtual environment of each image, made from its pip layers."""

import asyncio
from importlib.metadata import version
from pathlib import Path

from tests.modal_control_plane.image_layers import Recipe
from tests.modal_control_plane.machine import Machine
from tests.virtual_environments import Contents, EnvironmentFailed, VirtualEnvironments


class Environments:
    """One environment for each set of pip layers, shared by everyone who uses the cache folder.

    It has what the image's layers install and what modal's own client needs, nothing else; but for what the
    machine substitutes.
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._environments = VirtualEnvironments(folder)
        self._machine = machine

    async def interpreter(self, recipe: Recipe) -> Path:
        """Return the interpreter of the image's environment, made first if it is not there yet.

        Raises EnvironmentFailed.
        """
        if recipe.unsupported:
            raise EnvironmentFailed(f"the local control plane cannot run `{recipe.unsupported[0]}`")
        asked = Contents(
            installs=((f"modal=={version('modal')}",), *recipe.pip_installs),
            requirement_files=recipe.requirement_files,
        )
        contents = self._machine.substituted(asked)
        return await asyncio.to_thread(self._environments.interpreter, "image", contents)

    def close(self) -> None:
        """Give up what is being installed."""
        self._environments.close()
