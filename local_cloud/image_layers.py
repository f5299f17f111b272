"""What an image's recorded layers install and set, as far as a virtual environment can have it."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from modal_proto import api_pb2 as pb

_PIP = re.compile(r"^RUN (?:/\.uv/uv pip|python3? -m pip|pip) install (?P<arguments>.*)$", re.DOTALL)
_OF_THE_BASE = re.compile(r"--upgrade pip|modal_requirements")
_UNSUPPORTED = ("RUN /.uv/uv sync",)


@dataclass(frozen=True)
class Recipe:
    """How to make the environments of one image: that of its own Python, and those at other paths."""

    pip_installs: tuple[tuple[str, ...], ...]
    installs_elsewhere: tuple[tuple[str, tuple[str, ...]], ...]
    """By the path that `--prefix` names."""
    requirement_files: tuple[tuple[str, bytes], ...]
    env: tuple[tuple[str, str], ...]
    unsupported: tuple[str, ...]


def recipe_of(layers: Sequence[pb.Image]) -> Recipe:
    """Read the pip layers, their requirement files and the environment variables, base layer first."""
    installs: list[tuple[str | None, tuple[str, ...]]] = []
    files: dict[str, bytes] = {}
    env: dict[str, str] = {}
    unsupported: list[str] = []
    for layer in layers:
        context = {file.filename: file.data for file in layer.context_files}
        for command in layer.dockerfile_commands:
            verb, _, rest = command.strip().partition(" ")
            if command.startswith(_UNSUPPORTED):
                unsupported.append(command)
            elif verb == "COPY" and (copied := _copied_file(rest, context)):
                files[copied[0]] = copied[1]
            elif verb == "ENV":
                env.update(_variables(rest))
            elif (match := _PIP.match(command)) and not _OF_THE_BASE.search(command):
                installs.append(_pip_arguments(match["arguments"]))
    used = {argument for _, install in installs for argument in install}
    return Recipe(
        pip_installs=tuple(install for prefix, install in installs if prefix is None),
        installs_elsewhere=tuple((prefix, install) for prefix, install in installs if prefix is not None),
        requirement_files=tuple((path, data) for path, data in files.items() if path in used),
        env=tuple(env.items()),
        unsupported=tuple(unsupported),
    )


def _copied_file(arguments: str, context: dict[str, bytes]) -> tuple[str, bytes] | None:
    parts = arguments.split()
    return (parts[1], context[parts[0]]) if len(parts) == 2 and parts[0] in context else None


def _variables(arguments: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(arguments) if "=" in part)


def _pip_arguments(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the path of `--prefix`, and the other arguments of `pip install` or `uv pip install` without
    those that name an interpreter."""
    words = iter(shlex.split(text.replace("$(command -v python)", "python")))
    prefix: str | None = None
    arguments: list[str] = []
    for word in words:
        if word == "--python":
            next(words)
        elif word == "--prefix":
            prefix = next(words)
        elif word in {"--requirement", "--requirements"}:
            arguments.append("-r")
        elif word != "--compile-bytecode":
            arguments.append(word)
    return prefix, tuple(arguments)
