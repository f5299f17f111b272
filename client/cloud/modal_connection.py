"""The connection of a command to Modal: there, or a line that says what to do."""

import asyncio
from types import ModuleType

from shared.errors import Misconfigured, Stage, StageFailed

_CONNECT_TIMEOUT_S = 15.0


def modal_library() -> ModuleType:
    """The library `modal`. Raises Misconfigured if it is not installed."""
    try:
        import modal
    except ImportError:
        raise Misconfigured(
            "This needs the library modal: pip install -e '.[cloud]', or make setup"
        ) from None
    return modal


async def connected() -> None:
    """Make sure that Modal answers and lets us in.

    Left alone, the library tries for a minute where there is no network (measured: 57 s).
    Raises Misconfigured without a valid token, StageFailed if nobody answers.
    """
    modal = modal_library()
    from orchestrator.modal_errors import typed_errors

    with typed_errors(Stage.ORCHESTRATOR):
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                client = await modal.Client.from_env.aio()
                await client.hello.aio()
        except TimeoutError:
            raise StageFailed(
                f"Modal does not answer within {_CONNECT_TIMEOUT_S:g} s. Is there a network? Try again."
            ) from None


async def is_deployed(app: str) -> bool:
    """Whether the app is on Modal."""
    modal = modal_library()
    try:
        await modal.App.lookup.aio(app)
    except modal.exception.NotFoundError:
        return False
    return True


async def check_deployed(app: str) -> None:
    """Raises Misconfigured, with the command that deploys it, if the app is not on Modal."""
    modal = modal_library()
    from orchestrator.modal_errors import typed_errors

    with typed_errors(Stage.ORCHESTRATOR, app):
        await modal.App.lookup.aio(app)
