"""What answers a gateway's clients: the three stages, and turns over them."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from conversation import shared_vad, smart_turn
from conversation.reply import TurnSource
from conversation.shared_vad import SharedVad
from conversation.smart_turn import SmartTurn
from conversation.turn_detection import TurnModel
from conversation.vad import OwnVad, Vad
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.selection import Selection
from services.weights import weights_folder
from services.weights.pinned import SILERO_VAD, SMART_TURN
from shared.deployment import MONOLITH_APP, MONOLITH_CLASS
from shared.errors import Stage
from shared.settings import Settings
from shared.stage_stream import Stages


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Engines in this process or deployed services, shared by all clients.

    `turns` is the orchestrator's pipeline over `stages`; `turn_model` judges whether a speaker has finished,
    None where a turn ends after a fixed silence; `model_names` are the stages' models as people call them.
    `new_vad` is called once for each session: `SharedVad.stream`, of a detector that all sessions share.
    """

    stages: Stages
    turns: TurnSource
    turn_model: TurnModel | None
    settings: Settings
    model_names: Mapping[Stage, str]
    new_vad: Callable[[], Vad] = OwnVad


@asynccontextmanager
async def local_backend(
    selection: Selection, settings: Settings, waiting: Callable[[str], None]
) -> AsyncIterator[Backend]:
    """Engines in this process, loaded first; `waiting` is called with what is being waited for, "" for
    nothing any more.

    Raises SpeechError if an engine cannot be loaded.
    """
    async with InProcessStages(selection, settings) as stages, listening(settings) as (turn_model, new_vad):
        waiting(f"Loading {', '.join(stages.model_names.values())}")
        await stages.loaded(lambda _: None)
        waiting("")
        yield Backend(
            stages=stages,
            turns=Pipeline(stages, settings).stream,
            turn_model=turn_model,
            settings=settings,
            model_names=stages.model_names,
            new_vad=new_vad,
        )


@asynccontextmanager
async def deployed_backend(
    selection: Selection, settings: Settings, *, in_monolith: bool
) -> AsyncIterator[Backend]:
    """The deployed services, with turns run in this process: one hop less than by the orchestrator's app. Or
    the monolith, which runs its turns.

    The models' names are those of this selection, whatever was deployed.
    """
    from orchestrator.modal_stages import ModalStages  # needs modal
    from orchestrator.modal_turns import modal_turns

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stages = await enter(ModalStages(settings, wake_ahead=not in_monolith, in_monolith=in_monolith))
        turns: TurnSource = Pipeline(stages, settings).stream
        if in_monolith:
            turns = await enter(modal_turns(MONOLITH_APP, MONOLITH_CLASS, settings))
        turn_model, new_vad = await enter(listening(settings))
        yield Backend(
            stages=stages,
            turns=turns,
            turn_model=turn_model,
            settings=settings,
            model_names={model.stage: model.engine().model_name for model in selection},
            new_vad=new_vad,
        )


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[tuple[TurnModel | None, Callable[[], Vad]]]:
    """The models that listen, in this process: of turn detection, if the settings want it, and the VAD.

    Raises WeightsMissing if their weights have not been fetched.
    """
    async with AsyncExitStack() as stack:
        turn_model = None
        if settings.turn_detection == "smart":
            turn_model = await stack.enter_async_context(
                SmartTurn(weights_folder(SMART_TURN) / smart_turn.MODEL_FILE)
            )
        vad = await stack.enter_async_context(SharedVad(weights_folder(SILERO_VAD) / shared_vad.MODEL_FILE))
        yield turn_model, vad.stream
