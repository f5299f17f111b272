"""OpenAI's REST API over the three stages."""

from gateway.rest.answers import exception_handlers
from gateway.rest.routes import routes

__all__ = ["exception_handlers", "routes"]
