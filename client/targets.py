"""What a command is aimed at: where turns run, and which apps of a deployment are meant."""

from enum import StrEnum

from shared.errors import Stage


class Target(StrEnum):
    """Where turns run: on engines in this process, on the four apps at Modal, or on the monolith there."""

    LOCAL = "local"
    MODAL = "modal"
    MONOLITH = "monolith"


class App(StrEnum):
    """An app of a deployment. The monolith holds the orchestrator and all three engines."""

    ASR = "asr"
    LLM = "llm"
    TTS = "tts"
    ORCHESTRATOR = "orchestrator"
    MONOLITH = "monolith"

    @property
    def modal_name(self) -> str:
        """The app's name at Modal."""
        from shared.deployment import APPS, MONOLITH_APP  # needs pydantic, which help does without

        return MONOLITH_APP if self is App.MONOLITH else APPS[Stage(self.value)]

    @property
    def engine_stages(self) -> tuple[Stage, ...]:
        """The stages whose engines the app holds."""
        stages = (Stage.ASR, Stage.LLM, Stage.TTS)
        return stages if self is App.MONOLITH else tuple(stage for stage in stages if stage == self.value)


FOUR_APPS = (App.ASR, App.LLM, App.TTS, App.ORCHESTRATOR)
"""What is deployed unless the monolith is asked for."""
