"""What the LLM gets of a turn: system prompt, the conversation's newest messages, and the transcript."""

from collections.abc import Sequence

from shared.payloads import MAX_TEXT_CHARACTERS, ChatMessage
from shared.settings import Settings
from shared.turn import TurnRequest


def messages_for_llm(request: TurnRequest, transcript: str, settings: Settings) -> list[ChatMessage]:
    """The messages of a turn; `transcript` is "" where the conversation ends with the question."""
    system = ChatMessage(role="system", content=request.system_prompt)
    newest = settings.max_conversation_messages
    recent = _newest(request.conversation, newest, ends_with_question=not transcript)
    if transcript:  # joins what was said without an answer: chat templates want the roles to alternate
        said = recent.pop().content if recent and recent[-1].role == "user" else ""
        said = f"{said} {transcript}".strip()[-MAX_TEXT_CHARACTERS:]
        recent.append(ChatMessage(role="user", content=said))
    return [system, *recent]


def _newest(
    conversation: Sequence[ChatMessage], count: int, *, ends_with_question: bool
) -> list[ChatMessage]:
    """At most so many, from a message of the user on: chat templates want that, and a tool's result then has
    its call. More if need be, so that a question at the end is among them."""
    first = max(0, len(conversation) - count)
    if first:
        of_user = [number for number, message in enumerate(conversation) if message.role == "user"]
        last = max(of_user, default=0) if ends_with_question else len(conversation)
        first = next((number for number in of_user if number >= first), last)
    return list(conversation[first:])
