"""Where pip is configured to look for packages, in the words of uv, which does not read that itself."""

import ast
import functools
import subprocess
import sys
import threading

_SECTIONS = ("global", "install", ":env:")  # from weakest to strongest
_DEFAULT_INDEX = "https://pypi.org/simple"  # pip's own
_asking = threading.Lock()


def configured_sources() -> tuple[str, ...]:
    """Return uv's options for the indexes and folders of pip's files and PIP_* variables.

    pip chooses among the files of all indexes. uv does so among their versions (`unsafe-best-match`), and
    takes a version's files from the first index that has one that fits, be it a wheel without the platform's
    libraries. So the main index, which is complete, comes first; uv's own order would have it last.
    """
    settings = _settings()
    indexes = (settings.get("index-url", _DEFAULT_INDEX), *settings.get("extra-index-url", "").split())
    places = [("index", index) for index in indexes]
    places += [("find-links", folder) for folder in settings.get("find-links", "").split()]
    options = [word for name, place in places for word in (f"--{name}", place)]
    if settings.get("no-index") in {"1", "true", "yes", "on"}:
        options.append("--no-index")
    return (*options, "--index-strategy", "unsafe-best-match")


def configured_variables() -> dict[str, str]:
    """Return uv's environment variables for what pip is told otherwise: whom to trust."""
    return {"SSL_CERT_FILE": _settings()["cert"]} if "cert" in _settings() else {}


def _settings() -> dict[str, str]:
    with _asking:  # pip is asked once, also by environments that are made at once
        return _told_by_pip()


@functools.cache
def _told_by_pip() -> dict[str, str]:
    command = (sys.executable, "-m", "pip", "config", "list")
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in told.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found and value:
            found[section][name] = str(ast.literal_eval(value))
    return {name: value for section in _SECTIONS for name, value in found[section].items()}
