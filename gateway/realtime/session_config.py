"""A session's configuration: what the client has set over the defaults, and what follows from it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from openai.types.realtime import (
    RealtimeFunctionTool,
    RealtimeResponseCreateParams,
    RealtimeSessionCreateRequest,
    RealtimeTranscriptionSessionCreateRequest,
)
from openai.types.realtime.realtime_audio_input_turn_detection import SemanticVad, ServerVad
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.realtime.audio import AudioFormat
from gateway.realtime.events import ProtocolError
from shared.errors import BadRequest
from shared.payloads import Tool, first_problem
from shared.settings import Settings
from shared.turn import TurnRequest

AnySession = RealtimeSessionCreateRequest | RealtimeTranscriptionSessionCreateRequest
TurnDetectionConfig = ServerVad | SemanticVad

MAX_SESSION_CHARACTERS = 256 * 2**10
"""Of a session's configuration as JSON."""

_SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_TURN_DETECTION: Mapping[str, dict[str, Any]] = {"server_vad": _SERVER_VAD, "semantic_vad": _SEMANTIC_VAD}
_INPUT = {
    "format": {"type": "audio/pcm", "rate": 24_000},
    "transcription": None,
    "noise_reduction": None,
    "turn_detection": _SERVER_VAD,
}
_REALTIME = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "audio": {
        "input": _INPUT,
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy", "speed": 1.0},
    },
}
_TRANSCRIPTION = {"type": "transcription", "audio": {"input": {**_INPUT, "transcription": {}}}}
_DEFAULTS: Mapping[str, dict[str, Any]] = {"realtime": _REALTIME, "transcription": _TRANSCRIPTION}

_MERGED = {"audio", "input", "output", "transcription", "noise_reduction"}
"""An update of these changes what it names and leaves the rest; any other value is replaced."""
_NULLABLE = {"transcription", "noise_reduction", "turn_detection", "tracing"}
"""Null switches these off; any other value it sets back to its default."""
_EAGERNESS = {"low": 2.0, "medium": 1.0, "auto": 1.0, "high": 0.5}
"""How much longer or shorter the longest silence is that ends a turn."""

_ANY_SESSION: TypeAdapter[AnySession] = TypeAdapter(AnySession)


class SessionConfig:
    """The configuration of one session, of type "realtime" or "transcription"."""

    def __init__(self, kind: str, settings: Settings, **identity: Any) -> None:
        self._settings = settings
        self._identity = identity
        self._fields = dict(_DEFAULTS[kind])
        self.session = _ANY_SESSION.validate_python(self._fields)

    def update(self, update: AnySession, *, voice_frozen: bool = False) -> None:
        """Change what the update names. Raises ProtocolError, and changes nothing, if that cannot be."""
        fields = update.model_dump(exclude_unset=True)
        defaults = _DEFAULTS[update.type]
        old = self._fields if self._fields["type"] == update.type else defaults
        if "model" in fields:
            self._identity["model"] = fields.pop("model") or self._identity["model"]
        merged = _merged(old, fields, defaults)
        if len(json.dumps(merged)) > MAX_SESSION_CHARACTERS:
            raise ProtocolError("The session's configuration is too large.", param="session")
        before = self._fields, self.session
        try:
            self._fields, self.session = merged, _ANY_SESSION.validate_python(merged)
            self.turn_options(RealtimeResponseCreateParams())
            same_kind = before[0]["type"] == merged["type"]
            if voice_frozen and same_kind and _voice_of(before[0]) != _voice_of(merged):
                message = "The voice cannot be changed once the conversation has speech of the assistant."
                raise ProtocolError(message, "cannot_update_voice", param="session.audio.output.voice")
        except ProtocolError:
            self._fields, self.session = before
            raise
        except (BadRequest, ValidationError) as error:
            self._fields, self.session = before
            message = first_problem(error) if isinstance(error, ValidationError) else error.message
            raise ProtocolError(message, param="session") from None

    @property
    def full(self) -> BaseModel:
        """All of the configuration, for session.created and session.updated."""
        return type(self.session).model_validate({**self._fields, **self._identity})

    @property
    def responds(self) -> bool:
        """Whether there are replies; a transcription session has none."""
        return isinstance(self.session, RealtimeSessionCreateRequest)

    @property
    def input_format(self) -> AudioFormat:
        """The format of what the client sends."""
        return AudioFormat.of(self._input.format)

    @property
    def transcribes(self) -> bool:
        """Whether the client wants the transcripts of what is said."""
        return self._input.transcription is not None

    @property
    def turn_detection(self) -> TurnDetectionConfig | None:
        """How a turn's end is found; None where the client commits."""
        return self._input.turn_detection  # type: ignore[no-any-return]

    @property
    def creates_response(self) -> bool:
        """Whether the end of a turn is answered unasked."""
        detection = self.turn_detection
        return self.responds and detection is not None and detection.create_response is not False

    @property
    def interrupts_response(self) -> bool:
        """Whether speech cancels the response that is under way."""
        detection = self.turn_detection
        return detection is not None and detection.interrupt_response is not False

    def listening(self) -> Settings | None:
        """The settings of turn taking; None where the client commits. What is out of bounds is the bound."""
        detection, settings = self.turn_detection, self._settings
        if detection is None:
            return None
        if isinstance(detection, SemanticVad):
            longest_s = settings.max_end_of_turn_silence_s * _EAGERNESS[detection.eagerness or "auto"]
            usual_s = min(settings.end_of_turn_silence_s, longest_s)
            chosen = {"max_end_of_turn_silence_s": longest_s, "end_of_turn_silence_s": usual_s}
        else:
            pre_roll_ms, silence_ms = detection.prefix_padding_ms, detection.silence_duration_ms
            chosen = {
                "vad_threshold": _within(0.0, detection.threshold, 0.9, settings.vad_threshold),
                "pre_roll_s": _within(0, pre_roll_ms, 1_000, 300) / 1000,
                "end_of_turn_silence_s": _within(200, silence_ms, 10_000, 500) / 1000,
            }
        return settings.model_copy(update=chosen)

    @property
    def asks_model(self) -> bool:
        """Whether a model judges if the speaker has finished."""
        return isinstance(self.turn_detection, SemanticVad)

    @property
    def idle_timeout_s(self) -> float | None:
        """After this much silence behind a reply the client wants another; None for never."""
        detection = self.turn_detection
        return _seconds(detection.idle_timeout_ms) if isinstance(detection, ServerVad) else None

    def output_format(self, response: RealtimeResponseCreateParams) -> AudioFormat:
        """The format of a response's speech."""
        if response.audio and response.audio.output and response.audio.output.format:
            return AudioFormat.of(response.audio.output.format)
        output = self._realtime.audio and self._realtime.audio.output
        return AudioFormat.of(output.format if output else None)

    def modalities(self, response: RealtimeResponseCreateParams) -> Sequence[str]:
        """What a response consists of: ["audio"] or ["text"]."""
        chosen = response.output_modalities or self._realtime.output_modalities or ["audio"]
        return ["audio"] if "audio" in chosen else ["text"]

    def voice(self, response: RealtimeResponseCreateParams) -> str:
        """The voice that the client names."""
        of_session = self._realtime.audio and self._realtime.audio.output
        of_response = response.audio and response.audio.output
        voice = (of_response and of_response.voice) or (of_session and of_session.voice)
        return voice if isinstance(voice, str) else getattr(voice, "id", "")

    @property
    def speed(self) -> float:
        """How much faster replies are spoken; what is out of bounds is the bound."""
        output = self._realtime.audio and self._realtime.audio.output
        return _within(0.25, output.speed if output else None, 1.5, 1.0)

    def transcription_options(self) -> dict[str, Any]:
        """Fields of each TurnRequest that transcribes."""
        transcription = self._input.transcription
        language = transcription.language if transcription else None
        return {"audio_language": language} if language else {}

    def turn_options(self, response: RealtimeResponseCreateParams) -> dict[str, Any]:
        """Fields of a response's TurnRequest. Raises ProtocolError."""
        options = self.transcription_options()
        if not self.responds:
            return _checked(options)
        session = self._realtime
        options["spoken"] = self.modalities(response) == ["audio"]
        options["tools"] = self._tools(response)
        options["voice"] = self._settings.gateway_voice(self.voice(response))
        instructions = session.instructions if response.instructions is None else response.instructions
        if instructions:
            options["system_prompt"] = instructions
        limit = response.max_output_tokens or session.max_output_tokens
        options["max_tokens"] = limit if isinstance(limit, int) else self._settings.max_reply_tokens
        return _checked(options)

    def _tools(self, response: RealtimeResponseCreateParams) -> tuple[Tool, ...]:
        session = self._realtime
        choice = response.tool_choice or session.tool_choice
        if choice == "none":
            return ()
        tools = session.tools or [] if response.tools is None else response.tools
        name, must_call = getattr(choice, "name", None), {"required": choice not in (None, "auto")}
        offered = [one for one in tools if name is None or getattr(one, "name", None) == name]
        return tuple(_tool(one).model_copy(update=must_call) for one in offered)

    @property
    def _realtime(self) -> RealtimeSessionCreateRequest:
        assert isinstance(self.session, RealtimeSessionCreateRequest)
        return self.session

    @property
    def _input(self) -> Any:
        assert self.session.audio
        return self.session.audio.input


def session_of(fields: Mapping[str, Any]) -> AnySession:
    """The configuration in a client secret. Raises ProtocolError."""
    try:
        return _ANY_SESSION.validate_python(dict(fields))
    except ValidationError as error:
        raise ProtocolError(first_problem(error), param="session") from None


def _voice_of(fields: Mapping[str, Any]) -> Any:
    return fields["audio"].get("output", {}).get("voice")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The same. Raises ProtocolError unless they are fields of a TurnRequest."""
    try:
        TurnRequest.checked(conversation=[{"role": "user", "content": "?"}], **options)
    except BadRequest as error:
        raise ProtocolError(error.message, param="session") from None
    return options


def _tool(tool: object) -> Tool:
    if not isinstance(tool, RealtimeFunctionTool):
        raise ProtocolError("Only tools of type function can be used here.", param="session.tools")
    try:
        parameters = tool.parameters or Tool.model_fields["parameters"].default
        return Tool.checked(name=tool.name, description=tool.description or "", parameters=parameters)
    except BadRequest as error:
        raise ProtocolError(error.message, param="session.tools") from None


def _merged(old: Any, new: Any, default: Any) -> Any:
    """`old`, changed by what `new` names. A name without a default is unknown here, its value anything."""
    result = dict(old)
    for name, value in new.items():
        usual = default.get(name)
        if value is None:
            result[name] = None if name in _NULLABLE else usual
        elif name in _MERGED and name in default:
            result[name] = _merged(result.get(name) or {}, value, usual or {})
        elif name == "turn_detection" and name in default:
            before = result.get(name) or {}
            same = before if before.get("type") == value["type"] else _TURN_DETECTION[value["type"]]
            result[name] = _merged(same, value, _TURN_DETECTION[value["type"]])
        else:
            result[name] = value
    return result


def _within(lowest: float, value: float | None, highest: float, usual: float) -> float:
    return usual if value is None else min(max(value, lowest), highest)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
