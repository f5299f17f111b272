"""Everything a container needs before its process can start."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import grpclib.server
from modal_proto import api_pb2 as pb

from local_cloud.container import INHERITED, Container
from local_cloud.environments import Environments, Machine
from local_cloud.files import VolumeLinks, mount_sources
from local_cloud.image_layers import Recipe, recipe_of
from local_cloud.layout import app_layout
from local_cloud.state import Function, State, found
from local_cloud.virtual_environments import EnvironmentFailed


class StartFailed(Exception):
    """A container could not be started; the message says why."""


class Starter:
    """Starts containers: their environment, files, volumes, variables and arguments."""

    def __init__(self, state: State, environments: Environments, machine: Machine, sockets: Path) -> None:
        self._state = state
        self._environments = environments
        self._machine = machine
        self._sockets = sockets
        self._volumes = VolumeLinks()
        self.server_for: Callable[[Container], grpclib.server.Server]

    async def start(self, container: Container) -> None:
        """Start the container's process; raises StartFailed where that cannot be."""
        function = container.function
        recipe = recipe_of([layer.definition for layer in self._state.layers(function.definition.image_id)])
        try:
            interpreter = await self._environments.interpreter(recipe)
            elsewhere = await self._environments.elsewhere(recipe)
        except EnvironmentFailed as error:
            raise StartFailed(str(error)) from error
        mount_sources(self._state, function, container.folder / "fs")
        volumes = self._volumes.mount(self._state, list(function.definition.volume_mounts))
        env = self._env(function, recipe, interpreter)
        for path in volumes:
            if not any(_names(value, path) for value in env.values()):
                raise StartFailed(f"no volume can be put at {path} on this machine, and no variable names it")
        await container.launch(
            interpreter,
            self._arguments(container),
            env | _moved(env, {**elsewhere, **volumes}),
            self._sockets / f"{container.id[-8:]}.sock",
            self.server_for(container),
        )

    def abandon(self) -> None:
        """Abandon every start that waits for its environment."""
        self._environments.close()

    def close(self) -> None:
        """Remove the volumes' links."""
        self._volumes.remove()

    def _arguments(self, container: Container) -> pb.ContainerArguments:
        function = container.function
        arguments = pb.ContainerArguments(
            task_id=container.id,
            function_id=function.id,
            app_id=function.app.id,
            function_def=function.definition,
            serialized_params=function.params,
            environment_name="main",
            app_layout=app_layout(self._state, function.app),
        )
        if container.snapshots:
            arguments.function_def.is_checkpointing_function = True
            arguments.checkpoint_id = f"ch-{container.id}"
        # There is no GPU to save. The view of the function still shows that it was asked for.
        arguments.function_def.ClearField("_experimental_enable_gpu_snapshot")
        return arguments

    def _env(self, function: Function, recipe: Recipe, interpreter: Path) -> dict[str, str]:
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env["PATH"] = f"{interpreter.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        env.update(self._machine.environ)
        env.update(recipe.env)
        for secret_id in function.definition.secret_ids:
            env.update(found(self._state.secrets, secret_id, "Secret").env)
        return env


def _moved(env: Mapping[str, str], folders: Mapping[str, Path]) -> dict[str, str]:
    """The variables that name something in one of these places, as it is found on this machine."""
    return {
        name: str(folder) + value.removeprefix(place)
        for name, value in env.items()
        for place, folder in folders.items()
        if _names(value, place)
    }


def _names(value: str, place: str) -> bool:
    return value == place or value.startswith(f"{place}/")
