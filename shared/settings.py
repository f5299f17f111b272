"""Every knob of the system, each told in place.

A setting is an environment variable of the same name in capitals with the prefix S2S_
(`S2S_MAX_REPLY_TOKENS=100`, `S2S_TTS_MIN_CONTAINERS=1`), or a line of a file `.env` in the working
directory. The three model selections have no prefix: ASR_MODEL, LLM_MODEL, TTS_MODEL.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Misconfigured, Stage
from shared.payloads import MAX_MP3_BYTES


class ServiceSettings(BaseModel):
    """How one app is deployed on Modal: `S2S_ASR_GPU=L4`, `S2S_ORCHESTRATOR_MAX_CONTAINERS=20`."""

    model_config = ConfigDict(frozen=True)

    gpu: str | None = None
    """One of Modal's GPUs ("A10G", "L4", "H100:2") instead of the engine's own choice; "none" for none."""
    cpu: float = Field(default=1.0, gt=0.0, le=64.0)
    """Cores that a container is sure to have."""
    memory_mb: int | None = Field(default=None, ge=128)
    """Memory that a container is sure to have; Modal's own default where None."""
    concurrent_inputs: int | None = Field(default=None, ge=1, le=999)
    """How many calls a container works on at once, instead of the engine's own number."""
    min_containers: int = Field(default=0, ge=0)
    """Containers that never scale down. 1 spares the first turn after a pause its cold start, and costs
    that container's price day and night."""
    max_containers: int = Field(default=10, ge=1)
    """The bound on what a rush can cost."""
    buffer_containers: int = Field(default=0, ge=0)
    """Idle containers held ready while others work: they spare a rush its cold starts."""
    scaledown_window_s: int = Field(default=300, ge=2, le=3600)
    """How long an idle container is kept, and paid for."""
    snapshot: Literal["none", "cpu", "gpu"] = "cpu"
    """What a container starts from: "cpu" is a snapshot of its memory, if its engine survives one, "gpu" one
    of its GPU's memory too, which is alpha at Modal; "none" starts from the beginning."""


class Settings(BaseSettings):
    """The settings of one process; immutable."""

    model_config = SettingsConfigDict(
        env_prefix="S2S_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    # Models, by the names that `s2s models` lists. None chooses for you: in process the embedded engines,
    # which need no GPU, account or model hub; on Modal what modal_defaults says.
    asr_model: str | None = Field(default=None, validation_alias="ASR_MODEL")
    llm_model: str | None = Field(default=None, validation_alias="LLM_MODEL")
    tts_model: str | None = Field(default=None, validation_alias="TTS_MODEL")
    modal_defaults: Literal["gpu", "embedded"] = "gpu"
    """What is deployed of a stage whose model is not named: "gpu" for nemo, phi3 and chatterbox, "embedded"
    for the same engines as in process. The local cloud, which has no GPU, sets it to "embedded"."""

    # Audio
    mp3_bitrate_kbps: int = Field(default=64, ge=8, le=320)
    """Constant bitrate of encoded speech. 64 is transparent for speech and 4 times smaller than WAV."""
    min_audio_s: float = Field(default=0.1, ge=0.0)
    """Shorter input is refused: nothing can be said in it."""
    max_audio_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Longer input is refused, whatever its header says; decoding stops there."""
    max_request_bytes: int = Field(default=8 * 2**20, ge=1, le=MAX_MP3_BYTES)
    """The most encoded audio that one request may carry."""
    max_file_bytes: int = Field(default=512 * 2**20, ge=1)
    """The most that a client reads of a file before it is decoded (two minutes of 192 kHz stereo
    float WAV are 176 MiB)."""
    ffmpeg_timeout_s: float = Field(default=30.0, gt=0.0)
    """How long ffmpeg may take for the formats that libsndfile does not read."""

    # Speech recognition
    whisper_model: str = Field(default="small.en", min_length=1)
    """The size of ASR_MODEL=whisper: tiny, base, small, medium (with .en for English alone, which is then
    better), large-v3, large-v3-turbo; or a repository of the hub with a converted one. Every utterance
    costs alike, as it is padded to 30 s: 1.6 s of one CPU core for a model of base's size (measured), and
    the larger ones more. large-v3-turbo knows all languages, and is meant for a GPU."""
    whisper_language: str = Field(default="en", pattern="^([a-z]{2,3}|auto)$")
    """What ASR_MODEL=whisper listens for ("de", "yue"); "auto" has it find out, at the risk of a mistake."""
    whisper_hotwords: str = Field(default="", max_length=500)
    """Names and terms that are likely to be said ("Chatterbox, Peter Piper"), for ASR_MODEL=whisper."""

    # Conversation and reply
    max_reply_tokens: int = Field(default=200, ge=1)
    """The most tokens of a reply, whatever the request asks for."""
    max_conversation_messages: int = Field(default=40, ge=0)
    """Older messages of a conversation are left out."""
    max_reply_characters: int = Field(default=4_000, ge=1)
    """The reply is ended here even if its LLM does not keep to max_reply_tokens."""

    # Speech synthesis
    chatterbox_voice: Path | None = None
    """A recording of one person, longer than 5 s (10 to 15 s are used), whose voice TTS_MODEL=chatterbox
    borrows; the model's own voice where None. On Modal the file must be where the container sees it: copy
    it with `modal volume put speech-to-speech-weights me.wav /clips/me.wav`, and set
    S2S_CHATTERBOX_VOICE=/weights/clips/me.wav. Ask the person first."""

    # Language models
    openai_base_url: str = Field(default="https://api.openai.com/v1", pattern=r"^https?://[^\s/]+")
    """Where LLM_MODEL=gpt4omini sends the conversation: any server of the OpenAI protocol
    ("http://127.0.0.1:11434/v1"). Its key is the environment variable OPENAI_API_KEY."""
    openai_model: str = Field(default="gpt-4o-mini", min_length=1)
    """The model that it asks for there."""
    openai_context_tokens: int = Field(default=128_000, ge=256)
    """How long conversation and reply together may be for that model."""
    vllm_flags: str = ""
    """More arguments for `vllm serve`, behind the engine's own and stronger than they are
    ("--gpu-memory-utilization 0.5 --quantization fp8")."""

    # Chunks of speakable text
    min_chunk_characters: int = Field(default=25, ge=1)
    """Shorter sentences are spoken together with the next: engines garble very short text."""
    min_first_chunk_characters: int = Field(default=10, ge=1)
    """The same for a reply's first chunk, where waiting costs time to first audio."""
    max_chunk_characters: int = Field(default=250, ge=50)
    """Chatterbox garbles above 300 characters."""
    max_chunk_growth: float = Field(default=3.0, ge=1.0)
    """Sentences are spoken together up to so many times the length of the chunk before: that is heard while
    they are being made, and a voice that took longer would leave a gap."""
    max_first_chunk_characters: int = Field(default=120, ge=50)
    """A first clause longer than this is cut between two words."""

    # Time-outs in seconds, per stage call: to its start (cold start and queue), then to each output
    stage_start_timeout_s: float = Field(default=600.0, gt=0.0)
    asr_timeout_s: float = Field(default=60.0, gt=0.0)
    llm_timeout_s: float = Field(default=30.0, gt=0.0)
    tts_timeout_s: float = Field(default=30.0, gt=0.0)
    stage_waiting_after_s: float = Field(default=0.5, gt=0.0)
    """A stage that has not started by then is shown as waiting."""

    # Robustness
    stage_attempts: int = Field(default=2, ge=1, le=5)
    """How often a stage is tried while nothing of it has been spoken, and by the client the turn itself."""
    engine_stuck_after_s: float = Field(default=60.0, gt=0.0)
    """A container ends whose engine goes on for so long with a call that was cancelled or timed out."""
    max_active_turns: int = Field(default=100, ge=1)
    """Turns above this are refused as overloaded rather than slowing all of them."""
    max_undelivered_events: int = Field(default=32, ge=1)
    """How far a turn may run ahead of a client that does not take its events."""

    # Listening to a person, in `s2s talk`
    pre_roll_s: float = Field(default=0.5, ge=0.0, le=1.0)
    """How much an utterance keeps of what came before its detection, so that first sounds are not cut."""
    min_speech_s: float = Field(default=0.16, ge=0.0, le=1.0)
    """Shorter sounds are no utterance. Of short words ("hi", "no") 0.22 s and more are detected as speech."""
    speculation_after_s: float = Field(default=0.25, ge=0.1)
    """After so much silence the turn is begun, and taken back if the speaker goes on. With less than 0.25 s,
    or less than 64 kbps, what was said must be encoded again for it (8 ms a second)."""
    end_of_turn_silence_s: float = Field(default=1.0, ge=0.2, le=10.0)
    """After so much silence the utterance is over."""
    max_utterance_s: float = Field(default=60.0, ge=2.0)
    """A longer utterance is answered when it has got so long; never more than max_audio_s."""
    barge_in_after_s: float = Field(default=0.5, ge=0.05, le=5.0)
    """Speech pauses a reply at once, and ends it when it has gone on for so long."""

    speaker_latency_s: float = Field(default=0.06, ge=0.02, le=0.5)
    """How much sound the loudspeaker is given in advance. Replies are heard, and fall silent, that much
    later; with too little they have gaps on a busy machine."""

    # Weights
    hub_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """A mirror of the Hugging Face hub, for Modal to fetch weights from. In process, set HF_ENDPOINT."""

    # Deployment on Modal
    asr: ServiceSettings = ServiceSettings()
    llm: ServiceSettings = ServiceSettings()
    tts: ServiceSettings = ServiceSettings()
    orchestrator: ServiceSettings = ServiceSettings()
    monolith: ServiceSettings = ServiceSettings()
    """The same for the variant with all of it in one container, on one GPU."""
    region: str | None = None
    """Where containers run ("eu", "us-east"). Modal charges 1.5 to 1.75 times the price for the choice."""
    routing_region: str | None = None
    """Where calls pass through on their way to a container; Modal's default is us-east."""
    call_timeout_s: int = Field(default=300, ge=1, le=86_400)
    """Modal ends a call that takes longer once it has started."""

    # Logs
    log_level: str = Field(default="WARNING", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    log_json: bool = False
    """One JSON object a line, for log collectors."""
    log_texts: bool = False
    """Also log what people said and were told. Off, because it is theirs."""

    def output_timeout_s(self, stage: Stage) -> float:
        """How long a started call of the stage may take for its next output."""
        return {
            Stage.ASR: self.asr_timeout_s,
            Stage.LLM: self.llm_timeout_s,
            Stage.TTS: self.tts_timeout_s,
        }[stage]

    def service(self, stage: Stage) -> ServiceSettings:
        """How the stage's app is deployed."""
        return {
            Stage.ASR: self.asr,
            Stage.LLM: self.llm,
            Stage.TTS: self.tts,
            Stage.ORCHESTRATOR: self.orchestrator,
        }[stage]

    def environ(self) -> dict[str, str]:
        """The environment variables that make the same settings elsewhere: of all that is not default."""
        variables: dict[str, str] = {}
        for name, value in self.model_dump(exclude_defaults=True, mode="json").items():
            if isinstance(value, dict):
                variables |= {_variable(f"{name}_{key}"): str(one) for key, one in value.items()}
            else:
                variables[_variable(name)] = str(value)
        return variables


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises Misconfigured, naming the variable, if one of them has a value that it cannot have.
    """
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        variable = _variable("_".join(str(part) for part in problem["loc"]))
        raise Misconfigured(f"{variable}={problem['input']!r}: {problem['msg']}.") from None


def _variable(name: str) -> str:
    name = name.upper()
    return name if name in {"ASR_MODEL", "LLM_MODEL", "TTS_MODEL"} else f"S2S_{name.removeprefix('S2S_')}"
