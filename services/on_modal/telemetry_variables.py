"""Telemetry of the apps on Modal: their containers have the OTEL_* variables of where one deploys. Those with
headers, which hold keys, come from Secrets."""

import os
import re

from shared.telemetry import is_wanted

_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_|METRICS_)?HEADERS")
_OWN = re.compile(r"OTEL_(SERVICE_NAME|EXPORTER_OTLP_\w*HEADERS)")
"""Each app has a name of its own."""


def telemetry_variables() -> dict[str, str]:
    """Those for an image; none where they ask for no telemetry."""
    return {name: value for name, value in _asked().items() if not _OWN.fullmatch(name)}


def telemetry_secrets() -> list[str]:
    """The variables that come from a Secret each."""
    return [name for name in _asked() if _HEADERS.fullmatch(name)]


def _asked() -> dict[str, str]:
    asked = {name: value for name, value in sorted(os.environ.items()) if name.startswith("OTEL_")}
    return asked if is_wanted(asked) else {}
