"""A command's connection to Modal: calls whose errors are typed, and Modal's own command."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import modal

from client.targets import App
from orchestrator.modal_errors import as_speech_error, typed_errors
from shared.deployment import APPS, CLASSES, MONOLITH_CLASS
from shared.errors import Stage, StageFailed
from shared.settings import settings

PROJECT = Path(__file__).parents[2]
_CONNECT_TIMEOUT_S = 15.0
_Result = TypeVar("_Result")


def run_on_modal(work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Connect and run a command's calls to Modal.

    Raises Misconfigured or StageFailed, with Modal's reason, if one of them fails.
    """

    async def run() -> _Result:
        await connected()
        return await work()

    try:
        return asyncio.run(run())
    except modal.exception.Error as error:
        raise as_speech_error(error, Stage.ORCHESTRATOR, APPS[Stage.ORCHESTRATOR]) from error


async def connected() -> None:
    """Make sure that Modal answers and accepts the token.

    Without a network the library alone keeps trying for a minute (measured: 57 s).
    Raises Misconfigured without a valid token, StageFailed if Modal does not answer.
    """
    with typed_errors(Stage.ORCHESTRATOR):
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                client = await modal.Client.from_env.aio()
                await client.hello.aio()  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise StageFailed(
                f"Modal does not answer within {_CONNECT_TIMEOUT_S:g} s. Is there a network? Try again."
            ) from None


async def is_deployed(app: App) -> bool:
    """Whether the app is deployed."""
    try:
        await modal.App.lookup.aio(app.modal_name)
    except modal.exception.NotFoundError:
        return False
    return True


async def check_deployed(app: App) -> None:
    """Raises Misconfigured, with the command that deploys it, if the app is not deployed."""
    with typed_errors(Stage.ORCHESTRATOR, app.modal_name):
        await modal.App.lookup.aio(app.modal_name)


def app_function(app: App, name: str) -> Any:
    """A method of a deployed app's class, by its name."""
    return getattr(modal.Cls.from_name(app.modal_name, class_name(app))(), name)


def class_name(app: App) -> str:
    """The name of the app's one class."""
    return MONOLITH_CLASS if app is App.MONOLITH else CLASSES[Stage(app.value)]


def run_modal_command(*arguments: str) -> bool:
    """Run Modal's own command, which shows what it does: in the project, so that it finds the modules, and
    with the settings of this process. Returns whether it succeeded."""
    command = [sys.executable, "-m", "modal", *arguments]
    environ = os.environ | settings().environ()
    return subprocess.run(command, cwd=PROJECT, env=environ, check=False).returncode == 0
