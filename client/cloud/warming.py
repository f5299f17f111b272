"""What is deployed, started before somebody talks, so that the next turn meets no cold start."""

import asyncio

from client.cloud.modal_connection import connected, modal_library
from orchestrator.modal_errors import typed_errors
from orchestrator.modal_stages import ModalStages
from shared.deployment import APPS, CLASSES, MONOLITH_APP, MONOLITH_CLASS, Health
from shared.errors import SpeechError, Stage
from shared.settings import settings
from shared.turn import Failure

Warmed = dict[str, Health | Failure | None]
"""By app, what runs there or why it does not; the orchestrator has no engine to tell of."""


async def warmed(*, monolith: bool = False) -> Warmed:
    """Start a container of every app that has none, all at once, and wait for them; or of the monolith.

    Raises Misconfigured or StageFailed if Modal cannot be reached.
    """
    await connected()
    if monolith:
        return {MONOLITH_APP: await _monolith()}
    services, orchestrator = await asyncio.gather(ModalStages(settings()).warm(), _orchestrator())
    return {APPS[one.stage]: one for one in services} | {APPS[Stage.ORCHESTRATOR]: orchestrator}


async def _orchestrator() -> Failure | None:
    app, cls = APPS[Stage.ORCHESTRATOR], CLASSES[Stage.ORCHESTRATOR]
    stream_turn = modal_library().Cls.from_name(app, cls)().stream_turn
    try:
        with typed_errors(Stage.ORCHESTRATOR):
            async for _ in stream_turn.remote_gen.aio(None):
                pass
    except SpeechError as error:
        return Failure.of(error)
    return None


async def _monolith() -> Failure | None:
    monolith = modal_library().Cls.from_name(MONOLITH_APP, MONOLITH_CLASS)()
    try:
        with typed_errors(Stage.ORCHESTRATOR, MONOLITH_APP):
            await monolith.warm.remote.aio()
    except SpeechError as error:
        return Failure.of(error)
    return None
