"""What an image's packages become on a machine without a GPU."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from local_cloud.pip_config import configured_sources
from local_cloud.virtual_environments import Contents

_PIN = re.compile(r"^(?P<name>[\w.-]+)(\[[\w,-]+\])?==(?P<version>[^\s;]+)")


@dataclass(frozen=True)
class Substitution:
    """Packages to leave out, packages to install instead ({version} is the locked one), and files to lay
    into site-packages."""

    dropped: str = "^$"
    """A regular expression of whole package names."""
    replaced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    site_files: Mapping[str, str] = field(default_factory=dict)


EVERYWHERE = Substitution(
    dropped=r"nvidia-.*|cuda-.*|triton",
    replaced={"torch": ("torch=={version}+cpu",)},
)


def on_cpu(contents: Contents, by_package: Mapping[str, Substitution] | None = None) -> Contents:
    """The same environment for a machine without a GPU; contents that pin nothing of a GPU's stay as they
    are. `by_package`: what else holds where a lock file pins the package that is named.

    What is left out is needed by packages that stay, so nothing is resolved anew: the lock files are
    complete as they are.
    """
    pins = {name for _, text in contents.requirement_files for name in pinned_packages(text.decode())}
    substitutions = [*(one for name, one in (by_package or {}).items() if name in pins), EVERYWHERE]
    files = tuple(
        (path, _substituted(text.decode(), substitutions).encode())
        for path, text in contents.requirement_files
    )
    if files == contents.requirement_files:
        return contents
    options = ("--no-deps", *_torch_source())
    return replace(
        contents,
        installs=tuple((*install, *(options if "-r" in install else ())) for install in contents.installs),
        requirement_files=files,
        site_files=tuple(
            (path, text.encode()) for one in substitutions for path, text in one.site_files.items()
        ),
    )


def pinned_packages(requirements: str) -> dict[str, str]:
    """The pinned versions of a lock file by package."""
    matches = filter(None, map(_PIN.match, requirements.splitlines()))
    return {match["name"]: match["version"] for match in matches}


def _substituted(requirements: str, substitutions: list[Substitution]) -> str:
    lines: list[str] = []
    for line in requirements.splitlines():
        pin = _PIN.match(line)
        lines += _instead(pin, substitutions) if pin else [line]
    return "".join(f"{line}\n" for line in lines)


def _instead(pin: re.Match[str], substitutions: list[Substitution]) -> list[str]:
    for one in substitutions:
        if re.fullmatch(one.dropped, pin["name"]):
            return []
        if pin["name"] in one.replaced:
            return [line.format(version=pin["version"]) for line in one.replaced[pin["name"]]]
    return [pin.string]


def _torch_source() -> tuple[str, ...]:
    """Where CPU builds of torch come from: PyTorch's own index, or folders that pip is told to look in."""
    return () if "--find-links" in configured_sources() else ("--torch-backend", "cpu")
