"""`s2s logs`: what the containers of an app have printed."""

from datetime import UTC, datetime, timedelta

import typer

from client.cloud.modal_connection import modal_library, run_on_modal
from client.errors import reported_errors
from client.targets import App
