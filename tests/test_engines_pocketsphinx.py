"""pocketsphinx in its own process: it hears, and it is never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.asr.pocketsphinx import PocketsphinxASR
from services.llm.rules import RulesLLM
from services.tts.flite import FliteTTS
from shared.audio import decode_audio, decode_mp3, encode_mp3, resample
from shared.errors import StageFailed
from shared.payloads import ChatMessage
from shared.pcm import Pcm, join
from shared.settings import Settings
from tests.virtual_clock import play

EXAMPLES = Path(__file__).parent.parent / "examples"


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "pocketsphinx_worker" in " ".join(child.cmdline())]


@dataclass
class Running:
    """An engine of a test's own, and its process."""

    engine: PocketsphinxASR
    process: psutil.Process


@pytest.fixture
def running() -> Iterator[Running]:
    others = workers()
    engine = PocketsphinxASR()
    engine.load()
    (process,) = set(workers()) - set(others)
    yield Running(engine, process)
    engine.close()
    assert set(workers()) == set(others)


@pytest.fixture(scope="module")
def loaded() -> Iterator[PocketsphinxASR]:
    """One engine for the tests that only listen."""
    engine = PocketsphinxASR()
    engine.load()
    yield engine
    engine.close()


def example(name: str) -> Pcm:
    return resample(decode_audio((EXAMPLES / f"{name}.mp3").read_bytes(), Settings()), 16_000)


def long_speech() -> Pcm:
    return Pcm(np.tile(example("what-is-two-plus-two").samples, 40), 16_000)


def word_errors(said: str, heard: str) -> int:
    """The least number of words to replace, add and leave out (Levenshtein's distance over words)."""
    reference, words = said.split(), heard.split()
    row = list(range(len(words) + 1))
    for i, word in enumerate(reference, 1):
        above, row = row, [i]
        for j, other in enumerate(words, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("what-is-two-plus-two", "Two plus two is four."),
        ("what-is-six-times-seven", "Six times seven is forty two."),
        ("my-name-is-peter", "Nice to meet you, Peter."),
        ("what-time-is-it", "It is "),
        ("what-is-the-date-today", "Today is "),
        ("what-can-you-do", "offline responder"),
        ("tell-me-a-joke", "I heard: "),
        ("hello", "Hello"),
    ],
)
def test_every_example_is_understood_and_answered_properly(
    loaded: PocketsphinxASR, name: str, answer: str
) -> None:
    async def reply(heard: str) -> str:
        messages = [ChatMessage(role="user", content=heard)]
        stream = RulesLLM().generate(messages, max_tokens=200, temperature=0)
        return "".join([delta async for delta in stream])

    assert answer in play(reply(loaded.transcribe(example(name))))


@pytest.mark.needs("flite")
def test_words_spoken_by_flite_and_sent_as_mp3_are_heard_as_the_same_words(loaded: PocketsphinxASR) -> None:
    said = [
        "the weather is fine today and we will walk to the river",
        "please open the window because it is very warm in here",
        "the train to the city leaves at seven in the morning",
    ]
    voice = FliteTTS()
    voice.load()
    errors = 0
    for sentence in said:
        spoken = join(list(voice.synthesize(sentence, threading.Event())))
        errors += word_errors(sentence, loaded.transcribe(decode_mp3(encode_mp3(spoken))))
    assert errors <= 6  # of 33; three in each of five runs, which differ a little as flite's samples do


def test_nothing_is_heard_in_nothing(loaded: PocketsphinxASR) -> None:
    assert loaded.transcribe(Pcm(np.zeros(0, np.float32), 16_000)) == ""


def test_threads_can_share_it(loaded: PocketsphinxASR) -> None:
    heard: list[str] = []
    threads = [
        threading.Thread(target=lambda: heard.append(loaded.transcribe(example("what-is-two-plus-two"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == ["what is two plus two"] * 4


def test_closing_it_in_the_middle_of_an_utterance_ends_both(running: Running) -> None:
    failures: list[Exception] = []

    def listen() -> None:
        try:
            running.engine.transcribe(long_speech())
        except StageFailed as error:
            failures.append(error)

    listening = threading.Thread(target=listen)
    listening.start()
    time.sleep(0.3)
    began = time.monotonic()
    running.engine.close()
    listening.join(10)
    assert time.monotonic() - began < 10  # the utterance itself takes about 15 s
    assert len(failures) == 1
    assert not running.process.is_running()


def test_a_process_that_dies_fails_its_utterance_and_the_next_one_is_heard(running: Running) -> None:
    threading.Timer(0.3, running.process.kill).start()
    with pytest.raises(StageFailed, match="died"):
        running.engine.transcribe(long_speech())
    assert running.engine.transcribe(example("what-is-two-plus-two")) == "what is two plus two"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_parent_even_in_the_middle_of_an_utterance(how: signal.Signals) -> None:
    code = (
        "from services.asr.pocketsphinx import PocketsphinxASR\n"
        "from tests.test_engines_pocketsphinx import long_speech\n"
        "engine = PocketsphinxASR(); engine.load(); print('ready', flush=True)\n"
        "engine.transcribe(long_speech())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    (worker,) = psutil.Process(parent.pid).children()
    time.sleep(0.5)
    parent.send_signal(how)
    parent.communicate()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert alive == []


def test_the_terminals_ctrl_c_does_not_reach_it(running: Running) -> None:
    assert os.getpgid(running.process.pid) != os.getpgid(0)
