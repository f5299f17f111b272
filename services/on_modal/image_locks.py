"""The lock files that images install: one for what every service needs, one for each set of packages that
engines need besides.

`python -m services.on_modal.image_locks` makes them anew (it needs uv).
"""

import subprocess
import sys
from pathlib import Path

from services.selection import discover
from shared.engines import MODEL_REGISTRY, RegisteredModel

_PROJECT = Path(__file__).parents[2]
LOCKS = _PROJECT / "locks"
BASE_LOCK = LOCKS / "base.txt"
"""What every service needs: pyproject.toml's own dependencies."""

WEIGHTS_LOCK = LOCKS / "weights.txt"
"""What fetching weights needs besides."""

GATEWAY_LOCK = LOCKS / "gateway.txt"
"""What the gateway needs: what every service does, its extra of pyproject.toml, and what Smart Turn needs."""

TELEMETRY_LOCK = LOCKS / "telemetry.txt"
"""What telemetry needs besides, in any image: no other lock may pin another version of these packages."""

TELEMETRY = ("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2")
SMART_TURN_FEATURES = "faster-whisper==1.2.1"
HUB_CLIENT = "huggingface-hub==2.4.0"
PIP = "pip==26.3"
"""It takes weights out of packages; an environment that uv makes has none."""
BASE_PYTHON = "3.11"


def lock_file(model: RegisteredModel) -> Path:
    """The lock file of an engine's image; it exists if `make lock` has seen the engine."""
    return LOCKS / f"{model.stage}-{model.spec.lock or model.name}.txt" if model.spec.packages else BASE_LOCK


def main() -> None:
    """Resolve all of them to the newest versions. Payloads are pickled between images, so pydantic is
    pinned alike in all."""
    _compile(BASE_LOCK, BASE_PYTHON)
    pins = [line for line in BASE_LOCK.read_text().splitlines() if line.startswith("pydantic")]
    _compile(WEIGHTS_LOCK, BASE_PYTHON, *pins, HUB_CLIENT, PIP)
    _compile(GATEWAY_LOCK, BASE_PYTHON, *pins, SMART_TURN_FEATURES, extra="gateway")
    _compile(TELEMETRY_LOCK, BASE_PYTHON, *TELEMETRY, project=False)
    discover()
    models = [model for stage in MODEL_REGISTRY.values() for model in stage.values() if model.spec.packages]
    for lock, model in {lock_file(model): model for model in models}.items():
        _compile(lock, model.spec.python_version, *pins, *model.spec.packages)


def _compile(
    lock: Path, python_version: str, *requirements: str, extra: str = "", project: bool = True
) -> None:
    name = lock.relative_to(_PROJECT)
    print(f"Resolving {name}", file=sys.stderr)  # noqa: T201
    command = ["uv", "pip", "compile", *(["pyproject.toml"] if project else []), "-", "--quiet", "--upgrade"]
    command += ["--extra", extra] if extra else []
    command += ["--python-version", python_version, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--custom-compile-command", "make lock", "--output-file", str(name)]
    subprocess.run(
        command,
        input="\n".join(requirements),
        text=True,
        cwd=_PROJECT,
        check=True,
    )


if __name__ == "__main__":
    main()
