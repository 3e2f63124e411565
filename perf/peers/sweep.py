"""Choosing a server's settings: the same way for Modelport and for its peers.

Each variant (variants.py) is started, checked and asked at concurrencies that the comparison does
not measure. The best is the one that takes the least CPU time a reply among those with nine tenths
of the greatest throughput. It is written into the server's settings.toml with the figures.
"""

from __future__ import annotations

import math
import re
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers import measuring, networks
from peers.contestants import Contestant
from peers.measuring import Turn
from peers.networks import Network
from peers.variants import STAGES, Settings

from modelport.errors import ModelportError

LOADS = (4, 16)
"""Not those of the comparison: settings that suit just these would be no fair choice."""
PASSES = 2
ENOUGH = 0.9
MARK = "# --- Below: written by `python perf/peers/compare.py --sweep`; do not edit it. ---\n"
_SECTION = re.compile(r"(?m)^(?=# sweep of (\w+):)")


@dataclass(frozen=True)
class Tried:
    """A variant and what it took.

    Attributes:
        settings: what was varied.
        replies_per_s: geometric mean over the loads; 0 when it failed.
        cpu_ms: for each reply, likewise.
        others: the median share of the CPUs that others used.
        failure: empty, or why there are no figures.
    """

    settings: Settings
    replies_per_s: float = 0.0
    cpu_ms: float = math.inf
    others: float = 0.0
    failure: str = ""


def best(tried: Iterable[Tried]) -> Tried:
    """Choose: the least CPU among those that are quick enough.

    Raises:
        ModelportError: none gave right answers.
    """
    good = [one for one in tried if not one.failure]
    if not good:
        raise ModelportError("no variant of the sweep answered", next_step="see the failures above")
    quick = ENOUGH * max(one.replies_per_s for one in good)
    return min((one for one in good if one.replies_per_s >= quick), key=lambda one: one.cpu_ms)


def count(name: str) -> int:
    """Say how many variants of a server are tried for a network."""
    first, *others = STAGES[name]
    return len(first) + sum(len(stage) - 1 for stage in others)


def sweep(
    contestant: Contestant,
    network: Network,
    repository: Path,
    on_tried: Callable[[Tried], None],
) -> tuple[Tried, list[Tried]]:
    """Try a server's variants for a network; gives the best one and all.

    Raises:
        ModelportError: none gave right answers.
    """
    model = networks.file(network, repository)
    expected = networks.answers(network, model)
    base = contestant.documented()
    tried: list[Tried] = []
    chosen: Settings = {}
    for stage in STAGES[contestant.name]:
        for variant in stage:
            settings = {**chosen, **variant}
            # What the stage before has measured already, as its base.
            if any({**base, **one.settings} == {**base, **settings} for one in tried):
                continue
            tried.append(_try(contestant, network, model, expected, settings))
            on_tried(tried[-1])
        chosen = best(tried).settings
    return best(tried), tried


def _try(
    contestant: Contestant,
    network: Network,
    model: Path,
    expected: Sequence[np.ndarray],
    settings: Settings,
) -> Tried:
    whole = {**contestant.documented(), **settings}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="modelport-") as folder,
            measuring.running(
                contestant, network, model, expected, Path(folder) / "server", whole
            ) as server,
        ):
            server.check()
            turns: dict[int, list[Turn]] = {load: [] for load in LOADS}
            for _ in range(PASSES):
                for load in LOADS:
                    turns[load].append(server.turn(load, network.slice_s / 2))
    except ModelportError as error:
        return Tried(settings, failure=str(error).splitlines()[0][:200])
    return Tried(
        settings,
        _middle([t.replies_per_s for t in found] for found in turns.values()),
        _middle([t.cpu_ms for t in found] for found in turns.values()),
        statistics.median(t.others for found in turns.values() for t in found),
    )


def _middle(by_load: Iterable[Sequence[float]]) -> float:
    return statistics.geometric_mean(statistics.median(found) for found in by_load)


def shown(one: Tried) -> str:
    """Write a variant in a line."""
    settings = ", ".join(f"{key}={value}" for key, value in one.settings.items())
    if one.failure:
        return f"{settings}: failed, {one.failure}"
    return f"{settings}: {one.replies_per_s:,.1f} replies/s, {one.cpu_ms:.3f} ms CPU a reply"


def busy(tried: Iterable[Tried]) -> float:
    """Give the greatest share of the CPUs that others used while a variant was tried."""
    return max(one.others for one in tried)


def section(network: str, chosen: Tried, tried: Sequence[Tried]) -> str:
    """Write what settings.toml says of a network: the figures as a comment, and the choice."""
    loads = " and ".join(map(str, LOADS))
    lines = [
        f"# sweep of {network}: concurrency {loads} (geometric means), others used up to "
        f"{busy(tried):.0%} of the CPUs."
    ]
    lines += [f"# {'*' if one is chosen else ' '} {shown(one)}" for one in tried]
    lines += [f"[{network}]", *(f"{key} = {_toml(v)}" for key, v in chosen.settings.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def written(text: str, network: str, new: str) -> str:
    """Give the text of a settings.toml with a network's section in it, in its old one's place."""
    head, _, tail = text.partition(MARK)
    parts = _SECTION.split(tail)[1:]
    sections: Mapping[str, str] = dict(zip(parts[::2], parts[1::2], strict=True))
    sections = {name: body.rstrip("\n") + "\n" for name, body in sections.items()}
    sections = {**sections, network: new}
    return (
        head.rstrip("\n") + "\n\n" + MARK + "\n" + "\n".join(sections[k] for k in sorted(sections))
    )
