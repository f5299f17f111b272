"""A loaded engine on vLLM, and the processes that it started."""

from collections.abc import Callable
from pathlib import Path

import psutil

from services.llm.vllm import AnyOnVllm, Llama, Phi3, VllmLLM
from shared.payloads import ChatMessage
from tests.engines.tiny_llm import build_llama, build_phi3
from tests.engines.vllm_metrics import vllm_metric
from tests.support.processes import is_running
from tests.support.replies import texts

BUILDERS: dict[type[VllmLLM], Callable[[Path], None]] = {
    Phi3: build_phi3,
    Llama: build_llama,
    AnyOnVllm: build_llama,
}
"""The tiny models that stand for the weights of each engine."""


class Loaded:
    """A loaded engine, and the processes that it started."""

    def __init__(self, engine: VllmLLM, foreign_addresses: Path | None = None) -> None:
        before = set(psutil.Process().children(recursive=True))
        engine.load()
        self.engine = engine
        self.foreign_addresses = foreign_addresses
        self.processes = [one for one in psutil.Process().children(recursive=True) if one not in before]

    async def answer(self, *said: str, system: str | None = None, max_tokens: int = 60) -> str:
        messages = [ChatMessage(role="system", content=system)] if system else []
        messages += [
            ChatMessage(role="assistant" if index % 2 else "user", content=text)
            for index, text in enumerate(said)
        ]
        reply = self.engine.generate(messages, max_tokens=max_tokens, temperature=0.0)
        return "".join([text async for text in texts(reply)])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of vLLM's own counter over its labels."""
        assert self.engine._server
        return vllm_metric(self.engine._server.socket, name, **labels)


def gone(processes: list[psutil.Process]) -> bool:
    psutil.wait_procs(processes, timeout=0)
    return not any(map(is_running, processes))
