"""All settings, each documented in place.

A setting is an environment variable: its name in capitals with the prefix S2S_ (`S2S_MAX_REPLY_TOKENS=100`,
`S2S_TTS_MIN_CONTAINERS=1`). The three model selections have no prefix: ASR_MODEL, LLM_MODEL, TTS_MODEL.
Variables can also be lines of a file `.env` in the working directory, keys such as OPENAI_API_KEY too.
"""

import difflib
import logging
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from dotenv import load_dotenv
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from shared.errors import Misconfigured, Stage
from shared.gateway_settings import GatewaySettings
from shared.payloads import MAX_MESSAGES, MAX_MP3_BYTES
from shared.service_settings import ServiceSettings

_OF_THE_TESTS = {"S2S_RECORDINGS", "S2S_FORBID_SKIPS"}


class Settings(GatewaySettings):
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

    # Models, by the names that `s2s models` lists. None is the default: in process the first one that can run
    # there, on Modal what modal_defaults says.
    asr_model: str | None = Field(default=None, validation_alias="ASR_MODEL")
    """The ASR model."""
    llm_model: str | None = Field(default=None, validation_alias="LLM_MODEL")
    """The LLM."""
    tts_model: str | None = Field(default=None, validation_alias="TTS_MODEL")
    """The TTS model."""
    modal_defaults: Literal["gpu", "embedded"] = "gpu"
    """The models that are deployed where none is selected: "gpu" for nemo, phi3 and chatterbox, "embedded"
    for the defaults in process. The local cloud, which has no GPU, sets it to "embedded"."""

    # Audio
    mp3_bitrate_kbps: int = Field(default=64, ge=8, le=320)
    """Constant bitrate of encoded speech. 64 is transparent for speech and 4 times smaller than WAV."""
    min_audio_s: float = Field(default=0.1, ge=0.0)
    """Shorter input is refused."""
    max_audio_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Longer input is refused. Decoding stops there, whatever the file's header declares."""
    max_request_bytes: int = Field(default=8 * 2**20, ge=1, le=MAX_MP3_BYTES)
    """Maximum encoded audio of one request."""
    max_file_bytes: int = Field(default=512 * 2**20, ge=1)
    """Maximum size of an audio file to decode (two minutes of 192 kHz stereo float WAV are 176 MiB)."""
    ffmpeg_timeout_s: float = Field(default=30.0, gt=0.0)
    """Time-out of ffmpeg, which decodes the formats that libsndfile does not."""

    # Speech recognition
    whisper_model: str = Field(default="tiny.en", min_length=1)
    """The size of ASR_MODEL=whisper: tiny, base, small, medium (with .en for English alone, which is then
    better), large-v3, large-v3-turbo; or a repository of the hub with a converted model. The default is quick
    on a CPU. On a GPU large-v3-turbo is better, and knows all languages."""
    whisper_language: str = Field(default="en", pattern="^([a-z]{2,3}|auto)$")
    """The language that ASR_MODEL=whisper transcribes ("de", "yue"); "auto" detects it, at the risk of a
    mistake."""
    whisper_hotwords: str = Field(default="", max_length=500)
    """Names and terms that are likely to occur ("Chatterbox, Peter Piper"), for ASR_MODEL=whisper."""

    # Conversation and reply
    max_reply_tokens: int = Field(default=200, ge=1)
    """Maximum tokens of a reply, whatever the request asks for."""
    max_conversation_messages: int = Field(default=40, ge=0, le=MAX_MESSAGES)
    """Maximum messages of a conversation that reach the LLM; older ones are dropped."""
    max_reply_characters: int = Field(default=4_000, ge=1)
    """The reply is cut here if the LLM exceeds max_reply_tokens."""

    # Speech synthesis
    chatterbox_voice: Path | None = None
    """A recording of one person, longer than 5 s (10 to 15 s are used), whose voice TTS_MODEL=chatterbox
    clones; or a folder of recordings, among whose names a turn chooses its voice. None is the model's own. On
    Modal the file must be where the container sees it: copy it with `modal volume put
    speech-to-speech-weights me.wav /clips/me.wav`, and set S2S_CHATTERBOX_VOICE=/weights/clips/me.wav. Ask
    the person first."""

    # Language models
    llm_repository: str = Field(default="Qwen/Qwen3-4B-Instruct-2507", pattern=r"^[\w.-]+/[\w.-]+$")
    """The model of LLM_MODEL=vllm: any repository of the Hugging Face hub that vLLM can serve."""
    llm_revision: str | None = Field(default=None, pattern=r"^[\w./-]+$")
    """Its commit, tag or branch; None is the pinned commit of the default repository, "main" of others."""
    llm_gated: bool = False
    """Whether the hub gives it only to those with a token: HF_TOKEN, on Modal the Secret hf-token."""
    llm_context_length: int | None = Field(default=None, ge=256)
    """The tokens of conversation and reply together, for vllm, phi3 and llama; None is the engine's own. Each
    takes memory of the GPU."""
    llm_tool_parser: str | None = Field(default=None, pattern=r"^\w+$")
    """How vLLM recognises tool calls in a reply (one of its --tool-call-parser); None is that of the model's
    family (Llama 3, Qwen 2.5 and 3), and no tools for any other."""
    vllm_flags: str = ""
    """More arguments of `vllm serve`. They come last, so they override the engine's own
    ("--gpu-memory-utilization 0.5 --quantization fp8")."""
    openai_base_url: str = Field(default="https://api.openai.com/v1", pattern=r"^https?://[^\s/]+")
    """The server of LLM_MODEL=gpt4omini: any that has the OpenAI chat protocol
    ("http://127.0.0.1:11434/v1"). Its key is the environment variable OPENAI_API_KEY."""
    openai_model: str = Field(default="gpt-4o-mini", min_length=1)
    """The model on that server."""
    openai_context_tokens: int = Field(default=128_000, ge=256)
    """The tokens of conversation and reply together that the model takes."""
    openai_options: str = ""
    """More fields of each request, as JSON: '{"reasoning_effort": "none"}' spares the wait for a model's
    reasoning, if it allows that."""

    # Chunks of speakable text
    min_chunk_characters: int = Field(default=25, ge=1)
    """Shorter sentences are synthesized together with the next: engines garble very short text."""
    min_first_chunk_characters: int = Field(default=10, ge=1)
    """The same for a reply's first chunk, where waiting costs time to first audio."""
    max_chunk_characters: int = Field(default=250, ge=50)
    """Maximum length of a chunk. Chatterbox garbles above 300 characters."""
    max_chunk_growth: float = Field(default=3.0, ge=1.0)
    """Maximum growth from one chunk to the next. A chunk is synthesized while the previous one plays; larger
    steps cause gaps."""
    max_first_chunk_characters: int = Field(default=120, ge=50)
    """A longer first clause is cut between two words."""

    # Time-outs of a stage call
    stage_start_timeout_s: float = Field(default=600.0, gt=0.0)
    """From the call to its start: a cold start and the queue."""
    asr_timeout_s: float = Field(default=60.0, gt=0.0)
    """From the start of an ASR call to its transcript."""
    llm_timeout_s: float = Field(default=30.0, gt=0.0)
    """From the start of an LLM call to its first output, and from each output to the next."""
    tts_timeout_s: float = Field(default=30.0, gt=0.0)
    """From the start of a TTS call to its first output, and from each output to the next."""
    stage_waiting_after_s: float = Field(default=0.5, gt=0.0)
    """A stage that has not started by then is reported as waiting."""

    # Robustness
    stage_attempts: int = Field(default=2, ge=1, le=5)
    """Attempts of a stage while none of its output has been used, and of a turn by the client."""
    engine_stuck_after_s: float = Field(default=60.0, gt=0.0)
    """Terminate the container if its engine keeps working this long on a cancelled or timed-out call."""
    max_active_turns: int = Field(default=100, ge=1)
    """More turns at once are refused as overloaded, rather than slowing all of them."""
    max_undelivered_events: int = Field(default=32, ge=1)
    """How many events a turn may be ahead of a client that does not take them."""

    # Turn taking, in `s2s talk`
    vad_threshold: float = Field(default=0.5, ge=0.0, le=0.9)
    """The probability of speech, by voice activity detection, below which speech has ended; it begins 0.1
    above that."""
    pre_roll_s: float = Field(default=0.5, ge=0.0, le=1.0)
    """Audio kept from before the detected start of speech, so that its onset is not cut."""
    min_speech_s: float = Field(default=0.16, ge=0.0, le=1.0)
    """Shorter sounds are no utterance. Of short words ("hi", "no"), the VAD detects 0.22 s and more."""
    speculation_after_s: float = Field(default=0.25, ge=0.1)
    """Silence after which a speculative turn starts; it is cancelled if the speaker goes on. Below 0.25 s, or
    below 64 kbps, the utterance must be encoded again for it (8 ms per second)."""
    turn_detection: Literal["silence", "smart"] = "silence"
    """What ends a turn: "silence" of a fixed length, or "smart", of a length that Smart Turn sets in each
    pause, by the sound of what was said."""
    end_of_turn_silence_s: float = Field(default=1.0, ge=0.2, le=10.0)
    """Silence that ends a turn; with Smart Turn, where its answer does not come in time."""
    min_end_of_turn_silence_s: float = Field(default=0.3, ge=0.2, le=10.0)
    """Silence that ends a turn where Smart Turn is sure that the speaker has finished."""
    max_end_of_turn_silence_s: float = Field(default=2.0, ge=0.2, le=10.0)
    """Silence that ends a turn where Smart Turn is sure that the speaker has not finished."""
    max_utterance_s: float = Field(default=60.0, ge=2.0)
    """An utterance of this length is answered as it is; never more than max_audio_s."""
    barge_in_after_s: float = Field(default=0.5, ge=0.05, le=5.0)
    """User speech pauses playback immediately; after this long the reply is cancelled. Shorter speech is
    transcribed before the reply goes on."""
    interrupting_words: str = "stop wait no nope hold hang pause quiet enough cancel"
    """Words of which one is enough to cancel the reply, however short. Empty: short speech never does."""

    speaker_latency_s: float = Field(default=0.06, ge=0.02, le=0.5)
    """Audio that is buffered in the loudspeaker. Replies start, and stop, that much later; with too little
    they have gaps on a busy machine."""

    # Weights
    hub_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """A mirror of the Hugging Face hub, for downloads on Modal. In process, set HF_ENDPOINT."""

    # Deployment on Modal
    asr: ServiceSettings = ServiceSettings()
    """The ASR service."""
    llm: ServiceSettings = ServiceSettings()
    """The LLM service."""
    tts: ServiceSettings = ServiceSettings()
    """The TTS service."""
    orchestrator: ServiceSettings = ServiceSettings()
    """The orchestrator."""
    monolith: ServiceSettings = ServiceSettings()
    """The monolith, which has all of it in one container."""
    gateway: ServiceSettings = ServiceSettings()
    """The gateway. Its concurrent inputs are the connections that a container is meant for."""
    gateway_target: Literal["services", "monolith"] = "services"
    """What the gateway on Modal is before: the three services, or the monolith."""
    gateway_proxy_token: bool = False
    """On Modal the gateway asks for a proxy token of Modal's in place of S2S_API_KEYS. Browsers have none, so
    the page needs keys."""
    region: str | None = None
    """Where containers run ("eu", "us-east"). Modal charges 1.5 to 1.75 times the price for the choice."""
    routing_region: str | None = None
    """Where calls are routed through on their way to a container; Modal's default is us-east."""
    call_timeout_s: int = Field(default=300, ge=1, le=86_400)
    """Modal ends a call that takes longer once it has started."""

    # Logs
    log_level: str = Field(default="WARNING", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    """The lowest level that is logged; INFO has a line per turn. Deployed apps log at INFO by default."""
    log_json: bool = False
    """Log one JSON object per line, for log collectors."""
    log_texts: bool = False
    """Also log transcripts and replies. Off, because they are private."""

    def output_timeout_s(self, stage: Stage) -> float:
        """The time-out between two outputs of a started call of the stage."""
        timeout_s: float = getattr(self, f"{stage}_timeout_s")
        return timeout_s

    def service(self, stage: Stage) -> ServiceSettings:
        """How the stage's app is deployed."""
        service: ServiceSettings = getattr(self, stage)
        return service

    def environ(self) -> dict[str, str]:
        """The environment variables that make the same settings elsewhere, but for what is secret; defaults
        need none."""
        values = self.model_dump(exclude_defaults=True, exclude={"api_keys"}, mode="json")
        return {variable: str(value) for variable, value in by_variable(values)}


@cache
def settings() -> Settings:
    """The settings of this process, read once. The variables of the file `.env` join its environment first.

    Raises Misconfigured, naming the variable, for an impossible value or a name that is no setting's.
    """
    if env_file := Settings.model_config["env_file"]:
        load_dotenv(str(env_file))
    _check_names(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        variable = _variable("_".join(str(part) for part in problem["loc"]))
        raise Misconfigured(f"{variable}={problem['input']!r}: {problem['msg']}.") from None


def by_variable(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Dumped settings, flat: each environment variable and its value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from by_variable({f"{name}_{key}": one for key, one in value.items()})
        else:
            yield _variable(name), value


def _check_names(environ: Mapping[str, str]) -> None:
    """In a container, which may be older than the client that set the variables, an unknown one is only
    logged."""
    known = dict(by_variable(Settings.model_construct().model_dump())).keys() | _OF_THE_TESTS
    for name in environ:
        if name.upper().startswith("S2S_") and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f" Do you mean {close[0]}?" if close else " 's2s settings' lists all of them."
            if environ.get("MODAL_IS_REMOTE") != "1":
                raise Misconfigured(f"{name}: no such setting.{hint}")
            logging.getLogger(__name__).warning("%s: no such setting, so it is ignored.", name)


def _variable(name: str) -> str:
    name = name.upper()
    return name if name in {"ASR_MODEL", "LLM_MODEL", "TTS_MODEL"} else f"S2S_{name.removeprefix('S2S_')}"
