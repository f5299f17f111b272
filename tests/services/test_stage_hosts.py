"""An engine behind its stage: loaded once, one piece of work at a time, errors with a name."""

import asyncio
import threading
import time

import pytest

from services.host.asr_host import ASRHost
from services.host.llm_host import LLMHost
from services.host.tts_host import TTSHost
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import EngineLoadFailed, Stage, StageFailed, WeightsMissing
from shared.payloads import Mp3Audio, TokenUsage
from shared.service_settings import ServiceSettings
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, StageFinished, StageStarted
from tests.support.hosted_engines import MESSAGES, Ears, Mind, Voice, read
from tests.support.waiting import GIVE_UP_S


async def test_a_stage_stream_begins_with_its_start_and_ends_with_its_cost_all_of_one_attempt() -> None:
    host = TTSHost(Voice(), Settings())
    items = await read(host.synthesize("one two three"))
    await host.close()
    assert [type(item).__name__ for item in items] == ["StageStarted", *["AudioSegment"] * 3, "StageFinished"]
    assert len({item.attempt_id for item in items}) == 1
    elapsed = [item.elapsed_us for item in items if isinstance(item, AudioSegment | StageFinished)]
    assert elapsed == sorted(elapsed)
    assert isinstance(items[-1], StageFinished)
    assert items[-1].busy_us > 0


async def test_each_call_is_an_attempt_of_its_own() -> None:
    host = TTSHost(Voice(), Settings())
    first, second = await read(host.synthesize("one")), await read(host.synthesize("one"))
    await host.close()
    assert first[0].attempt_id != second[0].attempt_id


async def test_an_engine_is_loaded_once_and_calls_that_come_earlier_wait_for_it() -> None:
    engine = Voice()
    engine.may_load.clear()
    host = TTSHost(engine, Settings())
    early = [asyncio.create_task(read(host.synthesize("one"))) for _ in range(3)]
    await asyncio.sleep(0.02)
    engine.may_load.set()
    started = [(await task)[0] for task in early]
    later = (await read(host.synthesize("one")))[0]
    await host.close()
    assert engine.loads == 1
    assert all(isinstance(item, StageStarted) and item.cold for item in started)
    assert isinstance(later, StageStarted)
    assert not later.cold


@pytest.mark.parametrize(
    ("error", "kind"),
    [(WeightsMissing("fetch them"), WeightsMissing), (OSError("no such library"), EngineLoadFailed)],
)
async def test_an_engine_that_cannot_be_loaded_fails_every_call_with_a_typed_error(
    error: Exception, kind: type[Exception]
) -> None:
    host = TTSHost(Voice(load_error=error), Settings())
    for _ in range(2):
        with pytest.raises(kind, match=str(error)) as raised:
            await read(host.synthesize("one"))
        assert raised.value.stage is Stage.TTS  # type: ignore[attr-defined]
    await host.close()


async def test_all_calls_work_on_one_thread() -> None:
    engine = Voice()
    host = TTSHost(engine, Settings())
    await asyncio.gather(*(read(host.synthesize("one two")) for _ in range(5)))
    await host.close()
    assert len(engine.threads) == 1
    assert engine.threads != {threading.get_ident()}


async def test_what_an_engine_raises_is_a_failure_of_its_stage() -> None:
    host = TTSHost(Voice(), Settings())
    with pytest.raises(StageFailed, match="voice: a word that cannot be spoken") as raised:
        await read(host.synthesize("one bad two"))
    await host.close()
    assert raised.value.stage is Stage.TTS


async def test_closing_a_tts_stream_stops_the_engine_within_a_segment() -> None:
    engine = Voice()
    host = TTSHost(engine, Settings())
    stream = host.synthesize("word " * 100_000)
    async for item in stream:
        if isinstance(item, AudioSegment):
            break
    await stream.aclose()
    await read(host.synthesize("one"))  # has its turn only once the thread is free
    await host.close()
    assert engine.pieces_made < 100_000


async def test_the_time_of_a_segment_is_never_before_that_of_the_one_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    durations_s = iter([0.2, 0.0, 0.0])

    def encode(pcm: Pcm, bitrate_kbps: int) -> Mp3Audio:
        time.sleep(next(durations_s))  # the first takes longer than the engine needs for the next
        return encode_mp3(pcm, bitrate_kbps)

    monkeypatch.setattr("services.host.tts_host.encode_mp3", encode)
    host = TTSHost(Voice(), Settings())
    items = await read(host.synthesize_mp3("one two three"))
    await host.close()
    elapsed = [item.elapsed_us for item in items if isinstance(item, AudioSegment)]
    assert elapsed == sorted(elapsed)


async def test_what_a_reply_took_is_known_at_its_end() -> None:
    host = LLMHost(Mind(), Settings())
    items = await read(host.generate(MESSAGES, max_tokens=3, temperature=0))
    await host.close()
    assert [type(item).__name__ for item in items] == ["StageStarted", *["LLMOutput"] * 3, "StageFinished"]
    assert isinstance(items[-1], StageFinished)
    assert items[-1].tokens == TokenUsage(input_tokens=len(MESSAGES), output_tokens=3)


async def test_closing_a_reply_stops_the_llm() -> None:
    engine = Mind()
    host = LLMHost(engine, Settings())
    stream = host.generate(MESSAGES, max_tokens=10_000, temperature=0)
    async for item in stream:
        if isinstance(item, LLMOutput):
            break
    assert engine.at_work == 1
    await stream.aclose()
    assert engine.at_work == 0
    await host.close()


@pytest.mark.parametrize("setting", [None, 4])
async def test_an_llm_works_on_as_many_replies_at_once_as_it_can_or_a_setting_says_and_no_more(
    setting: int | None,
) -> None:
    engine = Mind()
    host = LLMHost(engine, Settings(llm=ServiceSettings(concurrent_inputs=setting)))
    replies = await asyncio.gather(
        *(read(host.generate(MESSAGES, max_tokens=5, temperature=0)) for _ in range(6))
    )
    await host.close()
    assert engine.most_at_work == (setting or 2)
    assert {len(reply) for reply in replies} == {7}


async def test_the_readers_own_time_is_not_the_llms() -> None:
    host = LLMHost(Mind(), Settings())
    stream = host.generate(MESSAGES, max_tokens=3, temperature=0)
    began = time.perf_counter()
    busy_us = 0
    async for item in stream:
        busy_us = item.busy_us if isinstance(item, StageFinished) else 0
        await asyncio.sleep(0.2)
    total_us = (time.perf_counter() - began) * 1e6
    await host.close()
    assert 0 < busy_us < total_us - 3 * 200_000


async def test_an_error_of_the_llm_is_a_failure_of_its_stage_behind_what_it_wrote() -> None:
    host = LLMHost(Mind(ConnectionError("gone")), Settings())
    deltas = []
    with pytest.raises(StageFailed, match="mind: gone") as raised:
        async for item in host.generate(MESSAGES, max_tokens=3, temperature=0):
            deltas.append(item)
    await host.close()
    assert len(deltas) == 4
    assert raised.value.stage is Stage.LLM


async def test_closing_a_host_does_not_wait_long_for_an_engine_that_is_still_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.host.stage_host.LOAD_GRACE_S", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Ears):
        def load(self) -> None:
            begun.set()
            go_on.wait(2 * GIVE_UP_S)

    host = ASRHost(Slow(), Settings())
    loading = asyncio.create_task(host.load())
    await asyncio.to_thread(begun.wait, GIVE_UP_S)
    await asyncio.wait_for(host.close(), GIVE_UP_S)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await loading


async def test_closing_a_host_leaves_no_thread() -> None:
    host = TTSHost(Voice(), Settings())
    await read(host.synthesize("one"))
    await host.close()
    assert not [t for t in threading.enumerate() if "tts-engine" in t.name]
