"""Calls that nobody waits for any more, an engine that is stuck with them, and a host that is closed."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.host.asr_host import ASRHost
from shared.audio.pcm import Pcm
from shared.errors import StageFailed
from shared.settings import Settings
from tests.services.asr_host.conftest import Ears, asked, at_work, lengthened
from tests.support.waiting import GIVE_UP_S, until_async


async def test_a_call_that_is_cancelled_while_it_waits_is_never_begun(ears: Ears, speech: Pcm) -> None:
    host = ASRHost(ears, Settings())
    first = await asked(host, speech)
    await at_work(ears)
    cancelled, kept = await asked(host, lengthened(speech, 1), lengthened(speech, 2))
    cancelled.cancel()
    await asyncio.wait([cancelled])
    ears.may_go_on.set()
    assert [await first[0], await kept] == [str(speech.num_samples), str(speech.num_samples + 2)]
    await host.close()
    assert str(speech.num_samples + 1) not in [text for batch in ears.batches for text in batch]


async def test_a_call_that_is_cancelled_in_mid_batch_leaves_the_others_their_words(
    ears: Ears, speech: Pcm
) -> None:
    host = ASRHost(ears, Settings())
    (cancelled,) = await asked(host, speech)
    await at_work(ears)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    (kept,) = await asked(host, lengthened(speech, 1))
    ears.may_go_on.set()
    assert await kept == str(speech.num_samples + 1)
    await host.close()


async def test_an_engine_that_goes_on_when_all_calls_of_a_batch_are_cancelled_is_reported_as_stuck(
    ears: Ears, speech: Pcm
) -> None:
    stuck = asyncio.Event()
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01), on_stuck=stuck.set)
    first = await asked(host, speech)
    await at_work(ears)
    first[0].cancel()
    async with asyncio.timeout(GIVE_UP_S):
        await stuck.wait()
    ears.may_go_on.set()
    await host.close()


async def test_an_engine_that_somebody_still_waits_for_is_not_stuck(ears: Ears, speech: Pcm) -> None:
    stuck = asyncio.Event()
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01), on_stuck=stuck.set)
    (first,) = await asked(host, speech)
    await at_work(ears)
    cancelled, kept = await asked(host, speech, speech)
    first_may_end, ears.may_go_on = ears.may_go_on, threading.Event()
    ears.working.clear()
    first_may_end.set()
    await first
    await at_work(ears)
    cancelled.cancel()
    await asyncio.sleep(0.1)
    assert not stuck.is_set()
    ears.may_go_on.set()
    assert await kept == str(speech.num_samples)
    await host.close()
    assert [len(batch) for batch in ears.batches] == [1, 2]


async def test_without_anybody_to_end_the_container_a_stuck_engine_is_logged(
    ears: Ears, speech: Pcm, caplog: pytest.LogCaptureFixture
) -> None:
    host = ASRHost(ears, Settings(engine_stuck_after_s=0.01))
    (cancelled,) = await asked(host, speech)
    await at_work(ears)
    cancelled.cancel()
    await until_async(lambda: "ears keeps working on an abandoned call" in caplog.text)
    ears.may_go_on.set()
    await host.close()


async def test_a_host_that_is_closed_fails_what_waits(ears: Ears, speech: Pcm) -> None:
    host = ASRHost(ears, Settings())
    (first,) = await asked(host, speech)
    await at_work(ears)
    (waiting,) = await asked(host, speech)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))  # one of them will wait
    closing = asyncio.create_task(host.close())
    await until_async(ears.closing.is_set)
    await asyncio.sleep(0.05)  # from there it is but a step
    ears.may_go_on.set()
    await closing
    assert await first == str(speech.num_samples)
    with pytest.raises(StageFailed, match="ears"):
        await waiting
    assert not [thread for thread in threading.enumerate() if "asr-engine" in thread.name]
