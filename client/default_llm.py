"""What is said, once, where the default LLM answers: it is no language model."""

from client.targets import Target
from shared.settings import Settings

_REMARK = (
    "Answers come from a table of rules. For a language model: LLM_MODEL=gpt4omini with OPENAI_API_KEY, or "
    "for Ollama with S2S_OPENAI_BASE_URL=http://127.0.0.1:11434/v1 S2S_OPENAI_MODEL=llama3.2"
)


def default_llm_remark(target: Target, settings: Settings) -> str:
    """The remark, with the line that gives a user a language model; "" where somebody has chosen the LLM or
    turns run elsewhere."""
    return _REMARK if target is Target.LOCAL and settings.llm_model is None else ""
