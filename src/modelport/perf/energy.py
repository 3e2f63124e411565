"""What replies cost in energy: read from a meter where this machine has one, else estimated.

Meters are RAPL of Intel's and AMD's processors (Linux, ``/sys/class/powercap``; readable by root
alone on most machines, and absent on virtual ones) and NVML of NVIDIA's GPUs
(``nvmlDeviceGetTotalEnergyConsumption``, Volta and later; needs the package ``nvidia-ml-py``).
A meter counts all that its chip does, the load generator and idling included.

Without one the energy is CPU time times the watts of a busy core, which is an assumption: most
servers draw between 2 and 8 W for each, idle power, memory, disks and cooling left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
WATTS_PER_CORE = 5.0
_BOARD = "psys"


@dataclass(frozen=True)
class Meter:
    """Something that counts energy.

    Attributes:
        name: of it, in words.
        read_j: joules so far; some counters begin anew when they are full.
        wraps_j: at how many they do; 0 for never.
    """

    name: str
    read_j: Callable[[], float]
    wraps_j: float = 0.0

    def between(self, before_j: float, after_j: float) -> float:
        """Give the joules between two readings, which lie less than a full counter apart."""
        return after_j - before_j if after_j >= before_j else after_j - before_j + self.wraps_j


def meters(powercap: Path = POWERCAP) -> list[Meter]:
    """Find the meters of this machine that this user may read."""
    return [*_rapl(powercap), *_nvml()]


def estimated_j(cpu_s: float, watts_per_core: float) -> float:
    """Estimate the energy of some CPU time."""
    return cpu_s * watts_per_core


@dataclass(frozen=True)
class Reading:
    """Readings of all meters at one moment; none where one of them could not be read."""

    joules: Sequence[float]


def read(among: Sequence[Meter]) -> Reading:
    """Read meters."""
    try:
        return Reading([meter.read_j() for meter in among])
    except (OSError, ValueError):  # a driver that was restarted, a right that was taken away
        return Reading(())


def spent_j(among: Sequence[Meter], before: Reading, after: Reading) -> float | None:
    """Give the joules that all meters counted between two readings; None where one told nothing."""
    if not among or not before.joules or not after.joules:
        return None
    rows = zip(among, before.joules, after.joules, strict=True)
    return sum(meter.between(one, other) for meter, one, other in rows)


def _rapl(powercap: Path) -> list[Meter]:
    """Find the processor packages; what is within one, such as its cores, is counted in it.

    Intel's ``psys`` counts the whole board with its packages, so that it is taken alone or not at
    all, and ``intel-rapl-mmio`` is another way to read the same packages.
    """
    found: dict[str, Meter] = {}
    for folder in sorted(powercap.glob("*-rapl:*")):
        counter = folder / "energy_uj"
        if folder.name.count(":") != 1:
            continue
        try:
            _microjoules(counter)
            wraps = _microjoules(folder / "max_energy_range_uj")
            name = (folder / "name").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        found.setdefault(name, Meter(f"RAPL {name}", partial(_microjoules, counter), wraps))
    packages = [meter for name, meter in found.items() if name != _BOARD]
    return packages or list(found.values())


def _microjoules(path: Path) -> float:
    return int(path.read_text(encoding="ascii")) / 1e6


def _nvml() -> list[Meter]:
    try:
        import pynvml
    except ImportError:
        return []
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        devices = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        found = [Meter(f"NVML GPU {n}", partial(_gpu_j, one)) for n, one in enumerate(devices)]
        for meter in found:
            meter.read_j()
    except (nvml.NVMLError, OSError):  # no driver, older than Volta, or not this user's
        return []
    return found


def _gpu_j(device: Any) -> float:
    import pynvml

    try:
        millijoules: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except pynvml.NVMLError as error:
        raise OSError(f"NVML: {error}") from error
    return millijoules / 1e3
