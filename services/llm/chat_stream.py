"""From the deltas of a streamed chat completion to a reply: text without thoughts, and whole tool calls."""

import re
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import ValidationError

from shared.errors import Stage, StageFailed
from shared.payloads import MAX_TOOL_JSON_CHARACTERS, MAX_TOOLS, ToolCall, first_problem

if TYPE_CHECKING:
    from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

_TAG = re.compile("</?think>")
_BEGUN_TAG = re.compile(r"<(/?(t(h(i(nk?)?)?)?)?)?\Z")


class ThoughtFilter:
    """Removes `<think>…</think>`, the reasoning that many open models write into their reply, from text that
    comes in parts cut anywhere."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, text: str) -> str:
        """The text to be spoken of what has come; what may be the beginning of a tag is held back."""
        text = self._held + text
        begun = _BEGUN_TAG.search(text)
        self._held = begun[0] if begun else ""
        text = text.removesuffix(self._held)
        spoken, position = "", 0
        for tag in _TAG.finditer(text):
            spoken += self._unless_thought(text[position : tag.start()])
            self._thinking, position = tag[0] == "<think>", tag.end()
        return spoken + self._unless_thought(text[position:])

    def end(self) -> str:
        """What was held back and turns out to be no tag."""
        return self._unless_thought(self._held)

    def _unless_thought(self, text: str) -> str:
        return "" if self._thinking else text


class ToolCallAssembler:
    """Puts tool calls together from deltas, in which their arguments come in fragments."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._calls: list[_PartialCall] = []

    def feed(self, delta: "ChoiceDeltaToolCall") -> None:
        """Take one delta in. Raises StageFailed beyond the bounds of a ToolCall."""
        call = next((one for one in reversed(self._calls) if one.index == delta.index), None)
        if call is None or (delta.id and call.call_id and delta.id != call.call_id):
            call = _PartialCall(delta.index)  # some servers number all of a reply's calls 0
            self._calls.append(call)
        call.call_id = call.call_id or delta.id or ""
        if delta.function:
            call.name = call.name or delta.function.name or ""
            call.arguments += delta.function.arguments or ""
        if len(self._calls) > MAX_TOOLS or len(call.arguments) > MAX_TOOL_JSON_CHARACTERS:
            raise StageFailed(f"{self._server} asks for more tool calls than a reply can hold.", Stage.LLM)

    def calls(self) -> list[ToolCall]:
        """The calls, once all deltas have come.

        Raises StageFailed if one has no valid name, or its arguments are no JSON object: asked again, the
        model can do better.
        """
        try:
            return [call.whole() for call in self._calls]
        except ValidationError as error:
            raise StageFailed(
                f"{self._server} sent a malformed tool call: {first_problem(error)}.",
                Stage.LLM,
            ) from error


class _PartialCall:
    def __init__(self, index: int) -> None:
        self.index = index
        self.call_id = ""
        self.name = ""
        self.arguments = ""

    def whole(self) -> ToolCall:
        call_id = self.call_id or f"call_{uuid4().hex}"  # some servers give none
        return ToolCall(call_id=call_id, name=self.name, arguments=self.arguments or "{}")
