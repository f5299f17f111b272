"""/v1/models: the three stages' models. Requests may name any other: the deployment has these."""

import time
from urllib.parse import quote

from openai.types import Model
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.access import Caller
from gateway.backend import Backend
from gateway.errors import Refused


class ModelNotFound(Refused):
    """No stage has a model of this name."""

    status = 404
    code = "model_not_found"


class ModelsEndpoint:
    """Answers the requests for all of them, or for the one that the path names."""

    def __init__(self, backend: Backend) -> None:
        self._models = {
            name: Model(
                id=name, object="model", created=int(time.time()), owned_by=f"speech-to-speech-{stage}"
            )
            for stage, name in backend.model_names.items()
        }

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """One request."""
        if "model" not in request.path_params:
            data = [model.model_dump() for model in self._models.values()]
            return JSONResponse({"object": "list", "data": data})
        model = self._models.get(request.path_params["model"])
        if model is None:
            known = ", ".join(map(quote, self._models))
            raise ModelNotFound(f"There is no such model. There are: {known}.", param="model")
        return JSONResponse(model.model_dump())
