"""Prices of containers on Modal, from a file."""

from datetime import date
from pathlib import Path

import pytest

from client.cost.prices import MAX_FILE_BYTES, PRICES, BadPrices, Prices, UnknownGpu, read_prices
from services.selection import discover
from shared.engines import MODEL_REGISTRY

ROUND = Prices(
    source="a test",
    as_of=date(2026, 1, 1),
    cpu_core_s=0.001,
    memory_gib_s=0.0001,
    gpu_s={"T4": 0.01, "H100": 0.1},
    same_as={"T4X": "T4"},
    region_broad=1.5,
    region_narrow=1.75,
)


def container_s(gpu: str | None = None, *, region: str | None = None) -> float:
    return ROUND.container_s(gpu=gpu, cpu=2.0, memory_gib=10.0, region=region)


def test_a_container_costs_its_cores_its_memory_and_its_gpus() -> None:
    assert container_s() == pytest.approx(0.003)
    assert container_s("T4") == pytest.approx(0.013)
    assert container_s("H100:2") == pytest.approx(0.203)


@pytest.mark.parametrize("name", ["t4", "T4", "T4X", "t4x:1"])
def test_a_gpu_has_the_names_that_modal_takes(name: str) -> None:
    assert container_s(name) == container_s("T4")


@pytest.mark.parametrize(("region", "times"), [(None, 1.0), ("eu", 1.5), ("us-east", 1.75)])
def test_a_region_of_ones_choice_multiplies_all_of_it(region: str | None, times: float) -> None:
    assert container_s("T4", region=region) == pytest.approx(0.013 * times)


@pytest.mark.parametrize("name", ["T5", "T4:", "T4:two", "T4:-1", "T4:0.5", "T4:1:1"])
def test_a_gpu_without_a_price_is_refused_with_those_that_have_one(name: str) -> None:
    with pytest.raises(UnknownGpu, match=f"'{name}' has no price. There are: T4, H100, T4X.* --prices FILE"):
        container_s(name)


def test_the_prices_that_come_along_are_dated_and_price_every_engine() -> None:
    prices = read_prices()
    assert prices.source.startswith("https://modal.com/")
    assert prices.as_of >= date(2026, 9, 1)
    discover()
    gpus = {model.spec.gpu for models in MODEL_REGISTRY.values() for model in models.values()}
    for gpu in gpus:
        assert prices.container_s(gpu=gpu, cpu=1.0, memory_gib=1.0, region=None) > 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("as_of = 2026-09-19", ""), "as_of: Field required"),
        (("as_of = 2026-09-19", "as_of = 'soon'"), "as_of"),
        (("T4 = 0.000164", "T4 = -1"), "gpu_s.T4"),
        (("T4 = 0.000164", "T4 = nan"), "gpu_s.T4"),
        (("T4 = 0.000164", "T4 = 590.0"), "gpu_s.T4"),  # an hour's, by mistake a thousand times as much
        (("region_broad = 1.5", "region_broad = 0.5"), "region_broad"),
        (("cpu_core_s", "cpu_s"), "cpu_core_s: Field required"),
        (("[gpu_s]", "tpu_s = 1\n[gpu_s]"), "tpu_s: Extra inputs are not permitted"),
        (('"A10"', '"A11"'), "same_as names A11"),
        (("[gpu_s]", "[gpu_s"), "not TOML"),
        (("[gpu_s]", "#" * MAX_FILE_BYTES), "too long"),
    ],
)
def test_a_file_with_something_wrong_is_refused_by_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES.read_text().replace(*change))
    with pytest.raises(BadPrices, match=problem):
        read_prices(path)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(b"\xff\x00")
    with pytest.raises(BadPrices, match="not TOML"):
        read_prices(tmp_path / "prices.toml")
    with pytest.raises(BadPrices, match="No such file"):
        read_prices(tmp_path / "none.toml")
