"""The machine that is measured on: what it is, and who else uses it meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelport.perf.result import Disturbance, Machine
from modelport.verify import latency

# From here on the figures are the neighbours', too.
_BUSY_STEAL = 0.05
_BUSY_OTHERS = 0.10
_PACKAGES = ("modelport", "numpy", "tritonclient", "grpcio")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe(packages: Mapping[str, str]) -> Machine:
    """Describe this machine.

    Args:
        packages: versions to name beside those of this Python's packages.
    """
    found = dict(packages)
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # run from a checkout
            found[name] = version(name)
    return Machine(
        processor=latency.processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        packages=dict(sorted(found.items())),
    )


@dataclass(frozen=True)
class Times:
    """CPU time so far, in seconds over all cores.

    Attributes:
        total: spent or idle.
        busy: spent by any process, and by the kernel for it.
        stolen: by the host of this virtual machine, for others.
        own: of ``busy``, what this process and the server spent.
        server: of ``own``, what the server spent.
        clock: of :func:`time.monotonic`.
    """

    total: float
    busy: float
    stolen: float
    own: float
    server: float
    clock: float


@dataclass(frozen=True)
class Spent:
    """What happened between two readings.

    Attributes:
        server_s: CPU time of the server's processes.
        steal_share: of all CPU time, what the host gave to others.
        others_share: of all CPU time, what processes spent that are not of the test.
    """

    server_s: float
    steal_share: float
    others_share: float


def times(server_cpu_s: Callable[[], float]) -> Times:
    """Read the clocks.

    Args:
        server_cpu_s: gives the CPU time of the server's processes so far.
    """
    # user nice system idle iowait irq softirq steal: proc_stat(5); guest time is in user already
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(f) / _TICKS_PER_S for f in fields)
    busy = user + nice + system + irq + softirq
    server = server_cpu_s()
    return Times(
        total=busy + idle + iowait + steal,
        busy=busy,
        stolen=steal,
        own=server + time.process_time(),
        server=server,
        clock=time.monotonic(),
    )


def between(before: Times, after: Times, load_cpu_s: float) -> Spent:
    """Say what was spent by whom.

    Args:
        before: the first reading.
        after: the second.
        load_cpu_s: of the load generator, which had ended at the second.
    """
    total = max(after.total - before.total, 1e-9)
    own = after.own - before.own + load_cpu_s
    others = after.busy - before.busy - own
    return Spent(
        server_s=max(after.server - before.server, 0.0),
        steal_share=_share((after.stolen - before.stolen) / total),
        others_share=_share(others / total),
    )


def disturbance(steal_share: float, others_share: float) -> Disturbance:
    """Judge how much others did to the figures."""
    words = []
    if steal_share > _BUSY_STEAL:
        words.append(f"its host gave {steal_share:.0%} of the CPU time to others")
    if others_share > _BUSY_OTHERS:
        words.append(f"other processes took {others_share:.0%} of the CPU time")
    note = " and ".join(words)
    return Disturbance(
        steal_share=steal_share, others_share=others_share, busy=bool(words), note=note
    )


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
