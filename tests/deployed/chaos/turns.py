"""One turn of the run, and its verdict."""

import asyncio

import numpy as np

from orchestrator.modal_errors import typed_errors
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import SpeechError, Stage
from shared.payloads import Mp3Audio
from shared.turn import Failure, NoSpeechDetected, TurnRequest, TurnResult
from tests.deployed.chaos.account import Account, Verdict
from tests.deployed.chaos.plan import PlannedTurn
from tests.support.answering_deployment import Told, play, question
from tests.support.answering_engines import SAMPLE_RATE_HZ, reply_to, speech_samples, transcript_of
from tests.support.deployed_project import remote

GIVE_UP_S = 300.0


async def play_planned(turn: PlannedTurn, account: Account) -> Verdict:
    """Play a turn and enter its verdict into the account."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            verdict, why = await _verdict(turn, account)
    except TimeoutError:
        verdict, why = Verdict.LOST, f"no end within {GIVE_UP_S:g} s"
    except Exception as error:
        verdict, why = Verdict.LOST, f"raised {error!r}"
    account.verdicts[verdict] += 1
    if why:
        account.faults.append(f"turn {turn.number} ({turn.way}, {turn.order}) {verdict}: {why}")
    return verdict


async def _verdict(turn: PlannedTurn, account: Account) -> tuple[Verdict, str]:
    if turn.way == "result":
        return await _of_result(turn, account)
    told = Told(turn.number)
    playing = asyncio.create_task(play(_request(turn), told))
    if turn.way == "cancelled":
        await asyncio.wait({playing}, timeout=turn.cancel_after_s)
        playing.cancel()
        await asyncio.wait({playing})
        if playing.cancelled():
            return _judged(told, Verdict.CANCELLED)
    await playing
    return _of_told(turn, told, account)


def _of_told(turn: PlannedTurn, told: Told, account: Account) -> tuple[Verdict, str]:
    if told.failure:
        return _judged(told, *_of_failure(turn, told.failure, account))
    end = told.events[-1] if told.events else None
    if isinstance(end, NoSpeechDetected):
        return (Verdict.NO_SPEECH, "") if turn.way == "silence" else (Verdict.WRONG, "heard no speech")
    if not told.completed:
        return Verdict.LOST, f"broke off behind {type(end).__name__}"
    if turn.way in ("silence", "damaged"):
        return Verdict.WRONG, f"{turn.way} was answered"
    return _judged(told, Verdict.ANSWERED)


def _judged(told: Told, verdict: Verdict, why: str = "") -> tuple[Verdict, str]:
    """The verdict, unless what was told is worse."""
    if wrong := told.wrong():
        return Verdict.WRONG, wrong
    if doubled := told.doubled():
        return Verdict.DOUBLED, doubled
    return verdict, why


def _of_failure(turn: PlannedTurn, failure: Failure, account: Account) -> tuple[Verdict, str]:
    if failure.kind == "overloaded":
        return Verdict.OVERLOADED, ""
    if failure.retryable:
        account.failures[f"{failure.stage} {failure.kind}"] += 1
        return Verdict.FAILED, ""
    if turn.way == "damaged" and failure.kind == "bad_audio":
        return Verdict.REJECTED, ""
    return Verdict.WRONG, f"failed for good: {failure}"


async def _of_result(turn: PlannedTurn, account: Account) -> tuple[Verdict, str]:
    """A turn that is asked for as a whole, through Modal's own client."""
    try:
        with typed_errors(Stage.ORCHESTRATOR):
            result: TurnResult = await remote("speech-to-speech", "run_turn").remote.aio(_request(turn))
    except SpeechError as error:
        return _of_failure(turn, Failure.of(error), account)
    if result.failure:
        return _of_failure(turn, result.failure, account)
    said = (result.transcript, result.reply, result.audio.num_samples if result.audio else 0)
    right = (transcript_of(turn.number), reply_to(turn.number), speech_samples(reply_to(turn.number)))
    return (Verdict.ANSWERED, "") if said == right else (Verdict.WRONG, f"the result is {said}")


def _request(turn: PlannedTurn) -> TurnRequest:
    if turn.way == "silence":
        silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
        return TurnRequest(audio=encode_mp3(Pcm(silence, SAMPLE_RATE_HZ)))
    request = question(turn.number)
    if turn.way != "damaged":
        return request
    assert isinstance(request.audio, Mp3Audio)
    kept = int(turn.dice * len(request.audio.mp3) / 2)
    damaged = request.audio.model_copy(update={"mp3": request.audio.mp3[:kept] + bytes(2_000)})
    return request.model_copy(update={"audio": damaged})
