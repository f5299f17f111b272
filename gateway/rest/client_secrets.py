"""/v1/realtime/client_secrets: a short-lived key for a browser, with the session that it may open."""

from typing import Annotated, Any, Literal
from uuid import uuid4

from openai.types.realtime import RealtimeSessionCreateRequest, RealtimeTranscriptionSessionCreateRequest
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.access import Access, Caller
from gateway.backend import Backend
from gateway.client_secrets import DEFAULT_SECRET_S, MAX_SECRET_S, MIN_SECRET_S
from gateway.rest.requests import read_json

MAX_REQUEST_BYTES = 64 * 2**10


class ExpiresAfter(BaseModel):
    """How long the secret lives."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=DEFAULT_SECRET_S, ge=MIN_SECRET_S, le=MAX_SECRET_S)


SessionRequest = Annotated[
    RealtimeSessionCreateRequest | RealtimeTranscriptionSessionCreateRequest, Field(discriminator="type")
]


class ClientSecretRequest(BaseModel):
    """What is asked for."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: SessionRequest = RealtimeSessionCreateRequest(type="realtime")


class ClientSecretsEndpoint:
    """Answers the requests."""

    def __init__(self, backend: Backend, access: Access) -> None:
        self._settings = backend.settings
        self._access = access

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """One request."""
        asked = await read_json(
            request, ClientSecretRequest, self._settings.upload_timeout_s, MAX_REQUEST_BYTES
        )
        session: dict[str, Any] = asked.session.model_dump(mode="json", exclude_unset=True)
        secret = self._access.create_secret(caller, asked.expires_after.seconds, session)
        shown = {
            **session,
            "id": f"sess_{uuid4().hex}",
            "object": f"{session['type']}.session".replace("transcription", "realtime.transcription"),
        }
        return JSONResponse({"value": secret.value, "expires_at": secret.expires_at, "session": shown})
