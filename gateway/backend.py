"""What answers a gateway's clients: the three stages, and turns over them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from conversation.reply import TurnSource
from conversation.turn_detection import TurnModel
from conversation.vad import OwnVad, Vad
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
