"""What a seed decides: what is asked, in which way, and what is broken before it."""

import random
from dataclasses import dataclass
from typing import Literal

Way = Literal["stream", "result", "cancelled", "silence", "damaged"]
Trouble = Literal["kill", "preempt", "slow network", "slow starts", "redeployment"]

_WAYS: dict[Way, float] = {"stream": 70, "result": 8, "cancelled": 12, "silence": 5, "damaged": 5}
_TROUBLES: dict[Trouble, float] = {
    "kill": 40,
    "preempt": 40,
    "slow network": 10,
    "slow starts": 5,
    "redeployment": 5,
}
_TROUBLE_BEFORE_A_TURN = 0.2
_ORDER_IN_A_TURN = 0.15
_POINTS = ("asr-begin", "llm-begin", "llm-middle", "llm-end", "tts-begin", "tts-middle", "tts-end")
_ORDERS = ("wait 0.3", "wait 1", "fail", "die")


@dataclass(frozen=True)
class PlannedTurn:
    """One turn: `cancel_after_s` for one that is cancelled, `order` what its engines are told to do where."""

    number: int
    way: Way
    trouble: Trouble | None
    cancel_after_s: float
    order: tuple[str, str] | None
    dice: float
    """Between 0 and 1: which container, app or damage it is."""


def plan(turns: int, seed: int) -> list[PlannedTurn]:
    """The turns of a run."""
    chance = random.Random(seed)
    return [_turn(number, chance) for number in range(turns)]


def _turn(number: int, chance: random.Random) -> PlannedTurn:
    troubled = chance.random() < _TROUBLE_BEFORE_A_TURN
    ordered = chance.random() < _ORDER_IN_A_TURN
    trouble = chance.choices(list(_TROUBLES), list(_TROUBLES.values()))[0]
    return PlannedTurn(
        number=number,
        way=chance.choices(list(_WAYS), list(_WAYS.values()))[0],
        trouble=trouble if troubled else None,
        cancel_after_s=chance.uniform(0, 1.5),
        order=(chance.choice(_POINTS), chance.choice(_ORDERS)) if ordered else None,
        dice=chance.random(),
    )
