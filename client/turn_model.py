"""The model that judges whether a speaker has finished, as the settings want it."""

from contextlib import AbstractAsyncContextManager, nullcontext

from conversation.smart_turn import MODEL_FILE, SmartTurn
from conversation.turn_detection import TurnModel
from services.weights import weights_folder
from services.weights.pinned import SMART_TURN
from shared.settings import Settings


def turn_model_of(settings: Settings) -> AbstractAsyncContextManager[TurnModel | None]:
    """Loaded on entry; None where a turn ends after a fixed silence.

    Raises WeightsMissing, with what to do, if its file has not been fetched or is not the one that was
    published; on entry Misconfigured if a library is not installed.
    """
    if settings.turn_detection == "silence":
        return nullcontext()
    return SmartTurn(weights_folder(SMART_TURN) / MODEL_FILE)
