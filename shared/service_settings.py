"""The settings of one app on Modal. They are part of `shared.settings.Settings`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServiceSettings(BaseModel):
    """How one app is deployed on Modal: `S2S_ASR_GPU=L4`, `S2S_ORCHESTRATOR_MAX_CONTAINERS=20`."""

    model_config = ConfigDict(frozen=True)

    gpu: str | None = None
    """One of Modal's GPUs ("A10G", "L4", "H100:2") in place of the engine's own choice; "none" for none."""
    cpu: float = Field(default=1.0, gt=0.0, le=64.0)
    """Guaranteed CPU cores of a container."""
    memory_mb: int | None = Field(default=None, ge=128)
    """Guaranteed memory of a container; None is Modal's default."""
    concurrent_inputs: int | None = Field(default=None, ge=1, le=999)
    """Calls that a container processes at once; None is the engine's own number."""
    min_containers: int = Field(default=0, ge=0)
    """Containers that never scale down. 1 saves the first turn after a pause its cold start, and costs that
    container's price day and night."""
    max_containers: int = Field(default=10, ge=1)
    """Upper bound of containers, and so of cost."""
    buffer_containers: int = Field(default=0, ge=0)
    """Extra idle containers while others are busy: they save a burst of calls its cold starts."""
    scaledown_window_s: int = Field(default=300, ge=2, le=3600)
    """How long an idle container is kept, and paid for."""
    snapshot: Literal["none", "cpu", "gpu"] = "cpu"
    """What a container starts from: "cpu" is a snapshot of its memory, if its engine survives one, "gpu" one
    of its GPU's memory too, which is alpha at Modal; "none" starts from the beginning."""
