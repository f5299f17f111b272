"""What a command is aimed at: where turns run, and which apps of a deployment are meant."""

from enum import StrEnum

from shared.errors import Stage


class App(StrEnum):
    """An app of a deployment. The monolith holds the orchestrator and all three engines; the gateway runs
    turns over the three services too, for browsers and other programs."""

    ASR = "asr"
    LLM = "llm"
    TTS = "tts"
    ORCHESTRATOR = "orchestrator"
    MONOLITH = "monolith"
    GATEWAY = "gateway"

    @property
    def modal_name(self) -> str:
        """The app's name at Modal."""
        from shared.deployment import (  # needs pydantic, which help does without
            APPS,
            GATEWAY_APP,
            MONOLITH_APP,
        )

        others = {App.MONOLITH: MONOLITH_APP, App.GATEWAY: GATEWAY_APP}
        return others.get(self) or APPS[Stage(self.value)]

    @property
    def engine_stages(self) -> tuple[Stage, ...]:
        """The stages whose engines the app holds."""
        if self is App.MONOLITH:
            return Stage.ASR, Stage.LLM, Stage.TTS
        return (Stage(self.value),) if self in SERVICES else ()


SERVICES = (App.ASR, App.LLM, App.TTS)
"""The apps with one engine each."""

TELEMETRY_NAME = "speech-to-speech-client"
"""What the client is called beside the apps, where its spans go."""

FOUR_APPS = (*SERVICES, App.ORCHESTRATOR)
"""What is deployed unless the monolith is asked for."""


class Target(StrEnum):
    """Where turns run: on engines in this process, on the four apps at Modal, or on the monolith there."""

    LOCAL = "local"
    MODAL = "modal"
    MONOLITH = "monolith"

    @property
    def apps(self) -> tuple[App, ...]:
        """The deployed apps that take part; the last one runs the turns."""
        return {Target.LOCAL: (), Target.MODAL: FOUR_APPS, Target.MONOLITH: (App.MONOLITH,)}[self]
