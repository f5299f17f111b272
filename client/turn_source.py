"""Where turns run: on engines in this process, or on the deployed orchestrator."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from client.targets import App, Target
from conversation.reply import TurnSource
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.selection import Selection, check_runs_here, select
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import TurnEvent, TurnRequest

Waiting = Callable[[str], None]
"""Called with what is being waited for; "" for nothing any more."""


def turns_at(target: Target, settings: Settings, waiting: Waiting) -> AbstractAsyncContextManager[TurnSource]:
    """Turns where a command wants them. Raises Misconfigured if the selected engines cannot run here."""
    if target.apps:
        return deployed_turns(target.apps[-1], settings, waiting)
    selection = select(settings)
    check_runs_here(selection)
    return turns_in_process(selection, settings, waiting)


@asynccontextmanager
async def turns_in_process(
    selection: Selection, settings: Settings, waiting: Waiting
) -> AsyncIterator[TurnSource]:
    """Turns on engines in this process, which are loaded first.

    Raises SpeechError if an engine cannot be loaded.
    """
    async with InProcessStages(selection, settings) as engines:
        left = engines.model_names

        def loaded(stage: Stage) -> None:
            del left[stage]
            waiting(f"Loading {', '.join(left.values())}" if left else "")

        waiting(f"Loading {', '.join(left.values())}")
        await engines.loaded(loaded)
        yield Pipeline(engines, settings).stream


@asynccontextmanager
async def deployed_turns(app: App, settings: Settings, waiting: Waiting) -> AsyncIterator[TurnSource]:
    """Turns of the deployed orchestrator, or of the monolith. At the end, every cancellation has arrived.

    Raises Misconfigured or StageFailed if Modal cannot be reached.
    """
    from client.cloud.modal_connection import class_name, connected  # needs modal
    from orchestrator.modal_turns import modal_turns

    waiting("Connecting to Modal")
    await connected()
    async with modal_turns(app.modal_name, class_name(app), settings) as deployed:

        def turns(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
            waiting(f"Waiting for the {app} to start")
            return deployed(request)

        yield turns
