"""What a loaded engine tells of itself and of where it runs."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from shared.deployment import Health
from shared.engines import Engine, RegisteredModel


def health_of(
    model: RegisteredModel, engine: Engine, *, on_gpu: bool, load_s: float, uptime_s: float
) -> Health:
    """The health of an engine that works in this process; blocking. `on_gpu`: it was given one."""
    return Health(
        stage=model.stage,
        name=model.name,
        model=engine.model_name,
        device=_device() if on_gpu else "cpu",
        load_s=load_s,
        uptime_s=uptime_s,
        versions=_versions(model),
    )


def _device() -> str:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no GPU found"
    return ", ".join(names.split("\n")).strip(", ")


def _versions(model: RegisteredModel) -> dict[str, str]:
    names = [package.split("==")[0].split("[")[0].split("@")[0].strip() for package in model.spec.packages]
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
