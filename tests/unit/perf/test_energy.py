"""Energy by meters and without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.perf import energy


def package(folder: Path, number: int, microjoules: int) -> Path:
    """Lay out one processor as Linux shows it (Documentation/power/powercap)."""
    path = folder / f"intel-rapl:{number}"
    (path / f"intel-rapl:{number}:0").mkdir(parents=True)
    for place in (path, path / f"intel-rapl:{number}:0"):
        (place / "energy_uj").write_text(f"{microjoules}\n")
        (place / "max_energy_range_uj").write_text("5000000\n")
        (place / "name").write_text(f"package-{number}\n")
    return path


def test_rapl_counts_each_package_once_and_past_its_end(tmp_path: Path) -> None:
    one, two = package(tmp_path, 0, 1_000_000), package(tmp_path, 1, 4_500_000)
    (tmp_path / "intel-rapl").mkdir()
    found = [meter for meter in energy.meters(tmp_path) if meter.name.startswith("RAPL")]
    assert [meter.name for meter in found] == ["RAPL package-0", "RAPL package-1"]
    before = energy.read(found)
    (one / "energy_uj").write_text("3500000\n")
    (two / "energy_uj").write_text("500000\n")
    assert energy.spent_j(found, before, energy.read(found)) == pytest.approx(2.5 + 1.0)


def test_the_whole_board_is_not_counted_beside_its_packages(tmp_path: Path) -> None:
    for number, name in enumerate(["psys", "package-0"]):
        (package(tmp_path, number, 1) / "name").write_text(name)
    # Another way to the counter of the same package.
    (tmp_path / "intel-rapl:1").rename(tmp_path / "intel-rapl:2")
    (package(tmp_path, 3, 1).rename(tmp_path / "intel-rapl-mmio:0") / "name").write_text(
        "package-0"
    )
    names = [meter.name for meter in energy.meters(tmp_path) if meter.name.startswith("RAPL")]
    assert names == ["RAPL package-0"]


def test_a_meter_that_ceases_to_tell_ends_nothing(tmp_path: Path) -> None:
    folder = package(tmp_path, 0, 1_000_000)
    found = [meter for meter in energy.meters(tmp_path) if meter.name.startswith("RAPL")]
    before = energy.read(found)
    (folder / "energy_uj").unlink()
    assert energy.spent_j(found, before, energy.read(found)) is None
    assert energy.spent_j([], energy.read([]), energy.read([])) is None


def test_a_meter_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (package(tmp_path, 0, 1) / "energy_uj").write_text("secret")
    assert not [m for m in energy.meters(tmp_path) if m.name.startswith("RAPL")]


def test_the_estimate_is_cpu_time_times_watts() -> None:
    assert energy.estimated_j(2.0, 5.0) == 10.0
