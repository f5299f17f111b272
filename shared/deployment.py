"""The names of a deployment's parts on Modal, and the health of a container."""

from pydantic import Field

from shared.errors import Stage
from shared.payloads import Payload

APPS = {
    Stage.ASR: "speech-to-speech-asr",
    Stage.LLM: "speech-to-speech-llm",
    Stage.TTS: "speech-to-speech-tts",
    Stage.ORCHESTRATOR: "speech-to-speech",
}
"""The Modal app of each stage."""

CLASSES = {Stage.ASR: "ASR", Stage.LLM: "LLM", Stage.TTS: "TTS", Stage.ORCHESTRATOR: "Orchestrator"}
"""The one class of each app, whose methods share its containers."""

SERVICES = (Stage.ASR, Stage.LLM, Stage.TTS)
"""The stages with an engine, in the order of a turn."""

MONOLITH_APP = "speech-to-speech-monolith"
MONOLITH_CLASS = "Monolith"
"""The app with all of it in one container, and its class."""

MONOLITH_TURNS = 4
"""How many turns it runs at once, unless S2S_MONOLITH_CONCURRENT_INPUTS says otherwise."""

GATEWAY_APP = "speech-to-speech-gateway"
GATEWAY_SERVER = "GatewayServer"
"""The app that other programs and browsers reach, and its server."""

GATEWAY_SESSIONS = 50
"""How many connections a container of it is for, unless S2S_GATEWAY_CONCURRENT_INPUTS says otherwise."""

COLD_WITHIN_S = 1.0
"""A call was a cold start if its container had been ready for no longer, and had answered none yet."""


class Health(Payload):
    """One container of a service: `load_s` is how long its engine took to load, `uptime_s` how long it
    has been ready, `versions` those of Python, modal and the engine's packages."""

    stage: Stage
    name: str
    """The model's name in the registry."""
    model: str
    """What a person calls it."""
    device: str
    load_s: float = Field(ge=0)
    uptime_s: float = Field(ge=0)
    versions: dict[str, str]
