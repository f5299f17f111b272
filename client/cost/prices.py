"""What Modal charges: a file of dated prices."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import Misconfigured
from shared.payloads import first_problem

PRICES = Path(__file__).with_name("prices.toml")
"""The prices that are used unless others are given."""

MAX_FILE_BYTES = 64 * 2**10

DollarsPerSecond = Annotated[float, Field(ge=0, le=1)]
Multiplier = Annotated[float, Field(ge=1, le=100)]


class UnknownGpu(Misconfigured):
    """A GPU has no price; the message lists those that have one."""

    kind = "unknown_gpu"


class BadPrices(Misconfigured):
    """A file holds no prices that can be used; the message says why."""

    kind = "bad_prices"


class Prices(BaseModel):
    """Prices in US dollars. Modal bills a container's CPU and memory by what it reserves or uses, whichever
    is more, and its GPUs, each by the second (modal.com/docs/guide/resources)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str = Field(min_length=1, max_length=200)
    """Where they are published."""
    as_of: date
    """When they stood there."""
    cpu_core_s: DollarsPerSecond
    """A physical core, which is two vCPUs."""
    memory_gib_s: DollarsPerSecond
    gpu_s: dict[str, DollarsPerSecond]
    """By Modal's name of the GPU, for one of them."""
    same_as: dict[str, str] = {}
    """More names of a GPU."""
    region_broad: Multiplier
    """All of it is multiplied by this in a region of one's choice, such as "eu"."""
    region_narrow: Multiplier
    """The same for a narrow one, such as "us-east"."""

    @model_validator(mode="after")
    def _names_are_priced(self) -> Self:
        if unpriced := set(self.same_as.values()) - self.gpu_s.keys():
            raise ValueError(f"same_as names {', '.join(sorted(unpriced))}, which gpu_s does not price")
        return self

    def container_s(self, *, gpu: str | None, cpu: float, memory_gib: float, region: str | None) -> float:
        """Dollars for a second of a container: `gpu` as in S2S_TTS_GPU ("A10G", "H100:2"), `cpu` in cores,
        `region` as in S2S_REGION, None for Modal's choice.

        Raises UnknownGpu if the GPU has no price.
        """
        base = cpu * self.cpu_core_s + memory_gib * self.memory_gib_s + (self._gpus_s(gpu) if gpu else 0.0)
        return base * self.multiplier(region)

    def multiplier(self, region: str | None) -> float:
        """What a region multiplies the price by."""
        if region is None:
            return 1.0
        return self.region_narrow if "-" in region else self.region_broad

    def _gpus_s(self, gpu: str) -> float:
        name, colon, count = gpu.upper().partition(":")
        count = count if colon else "1"
        price = self.gpu_s.get(self.same_as.get(name, name))
        if price is None or not count.isdecimal():
            raise UnknownGpu(
                f"GPU {gpu!r} has no price. There are: {', '.join([*self.gpu_s, *self.same_as])}. Add it to "
                f"a copy of {PRICES.relative_to(PRICES.parents[2])} and give that with --prices FILE."
            )
        return price * int(count)


def read_prices(path: Path = PRICES) -> Prices:
    """The prices of a TOML file.

    Raises BadPrices, naming what is wrong, if it cannot be read or is not as `Prices` says.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadPrices(f"{path} is too long for a file of prices.")
        return Prices.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise BadPrices(f"Prices {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise BadPrices(f"Prices {path}: {first_problem(error)}.") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise BadPrices(f"Prices {path} are not TOML: {error}.") from None
