"""The routes of the REST API."""

from starlette.routing import Route

from gateway.access import Access
from gateway.backend import Backend
from gateway.health import Readiness
from gateway.metrics import Metrics
from gateway.rest.chat import ChatEndpoint
from gateway.rest.client_secrets import ClientSecretsEndpoint
from gateway.rest.models import ModelsEndpoint
from gateway.rest.requests import Admitted, Endpoint
from gateway.rest.speech import SpeechEndpoint
from gateway.rest.transcriptions import TranscriptionEndpoint


def routes(backend: Backend, access: Access, metrics: Metrics, readiness: Readiness) -> list[Route]:
    """All of them. The app that has them answers what they raise by `exception_handlers`; the backend's turns
    are counted already (`Metrics.counted`)."""

    def route(path: str, method: str, endpoint: Endpoint) -> Route:
        return Route(path, Admitted(endpoint, access, readiness), methods=[method])

    models = ModelsEndpoint(backend)
    return [
        route("/v1/audio/transcriptions", "POST", TranscriptionEndpoint(backend, metrics)),
        route("/v1/audio/speech", "POST", SpeechEndpoint(backend, metrics)),
        route("/v1/chat/completions", "POST", ChatEndpoint(backend, metrics)),
        route("/v1/models", "GET", models),
        route("/v1/models/{model:path}", "GET", models),
        route("/v1/realtime/client_secrets", "POST", ClientSecretsEndpoint(backend, access)),
    ]
