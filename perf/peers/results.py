"""What was measured: kept as JSON, one entry for each pair, and what follows from it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
BUSY = 0.10
"""Above this share of the CPUs used by others, a pair is marked."""
METRICS = ("replies_per_s", "cpu_ms", "p50_ms", "p99_ms", "client_cpu_ms", "others")

Rounds = Mapping[str, Sequence[Mapping[str, float]]]
"""Turns by concurrency, in the order of the rounds."""


def medians(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give each metric's median over the rounds."""
    return {name: round(statistics.median(t[name] for t in turns), 4) for name in METRICS}


def ratio(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], metric: str
) -> dict[str, float]:
    """Compare round by round: the median of the ratios, the least and the greatest.

    Rounds stand beside each other in time, so what the machine did to one it did to the other.
    """
    found = [a[metric] / b[metric] for a, b in zip(ours, theirs, strict=True)]
    shown = {"median": statistics.median(found), "low": min(found), "high": max(found)}
    return {name: round(value, 3) for name, value in shown.items()}


def best_batch(limits: Mapping[str, Mapping[str, float]]) -> int:
    """Give the batch size with the least CPU time for each row."""
    return int(min(limits, key=lambda batch: limits[batch]["cpu_ms"]))


def pair(ours: Rounds, theirs: Rounds, bare: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Gather the figures of a pair by concurrency; ``bare`` has a turn for each round."""
    return {
        concurrency: {
            "modelport": medians(ours[concurrency]),
            "peer": medians(theirs[concurrency]),
            "cpu_over_peer": ratio(ours[concurrency], theirs[concurrency], "cpu_ms"),
            "replies_over_peer": ratio(ours[concurrency], theirs[concurrency], "replies_per_s"),
            "cpu_over_bare": ratio(ours[concurrency], bare, "cpu_ms"),
            "peer_cpu_over_bare": ratio(theirs[concurrency], bare, "cpu_ms"),
        }
        for concurrency in ours
    }


def others(entry: Mapping[str, Any]) -> float:
    """Give the greatest median share of the CPUs that others used in a pair."""
    sides = (one[side] for one in entry["figures"].values() for side in ("modelport", "peer"))
    return max((side["others"] for side in sides), default=0.0)


class Store:
    """A file of results, written anew after each pair, so that a run can go on where it ended.

    Args:
        path: the file.
        writes: whether it is written; a trial only reads it.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self._path, self._writes = path, writes
        empty: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "limits": {}, "pairs": {}}
        self._held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty

    @property
    def pairs(self) -> Mapping[str, Mapping[str, Any]]:
        """Entries by ``peer/network``."""
        found: Mapping[str, Mapping[str, Any]] = self._held["pairs"]
        return found

    @property
    def limits(self) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
        """Bare ONNX Runtime by network and batch size."""
        found: Mapping[str, Mapping[str, Mapping[str, float]]] = self._held["limits"]
        return found

    def holds(self, peer: str, network: str, order: Mapping[str, Any]) -> bool:
        """Say whether a pair was measured with just this order (settings, rounds, …), in quiet."""
        found = self.pairs.get(f"{peer}/{network}", {})
        return found.get("order") == order and others(found) <= BUSY

    def add(self, peer: str, network: str, entry: Mapping[str, Any]) -> None:
        """Keep a pair and write the file."""
        self._held["pairs"][f"{peer}/{network}"] = entry
        self._write()

    def add_limits(self, network: str, found: Mapping[str, Mapping[str, float]]) -> None:
        """Keep what bare ONNX Runtime takes and write the file."""
        self._held["limits"][network] = found
        self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        text = json.dumps(self._held, indent=1, sort_keys=True) + "\n"
        new = self._path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)

    def of(self, network: str) -> dict[str, Mapping[str, Any]]:
        """Give a network's pairs by peer."""
        named = ((key.split("/"), entry) for key, entry in self.pairs.items())
        return {peer: entry for (peer, of), entry in named if of == network}


def together(entries: Iterable[Mapping[str, Any]], concurrency: str) -> dict[str, float]:
    """Give Modelport's own figures: the medians of those in all its pairs."""
    found = [e["figures"][concurrency]["modelport"] for e in entries if concurrency in e["figures"]]
    return medians(found)


def unjudged(
    store: Store, network: str, concurrency: str, peers: Iterable[str]
) -> Mapping[str, list[str]]:
    """Say why a network cannot be judged at a concurrency: pairs by reason; empty if it can."""
    entries, peers = store.of(network), list(peers)
    measured = [p for p in peers if concurrency in entries.get(p, {}).get("figures", {})]
    reasons = {
        "not measured": [p for p in peers if p not in measured],
        "measured on a busy machine": [p for p in measured if others(entries[p]) > BUSY],
        "with settings that no sweep has chosen": [
            p for p in measured if not all(entries[p][s]["swept"] for s in ("modelport", "peer"))
        ],
    }
    found = {reason: [f"{p}/{network}" for p in named] for reason, named in reasons.items()}
    return {reason: named for reason, named in found.items() if named}


def aims(store: Store, network: str, concurrency: str) -> dict[str, Any]:
    """Say how Modelport stands at a concurrency: against the best peer and the bare loop.

    The best peer is the one that Modelport's ratio to is the worst; of all, where `unjudged` is
    empty.
    """
    entries = {p: e for p, e in store.of(network).items() if concurrency in e["figures"]}
    if not entries:
        return {}

    def median(entry: Mapping[str, Any], name: str) -> float:
        return float(entry["figures"][concurrency][name]["median"])

    cpu = max(entries, key=lambda p: median(entries[p], "cpu_over_peer"))
    rate = min(entries, key=lambda p: median(entries[p], "replies_over_peer"))
    bare = statistics.median(median(e, "cpu_over_bare") for e in entries.values())
    return {
        "cpu_over_best": median(entries[cpu], "cpu_over_peer"),
        "cpu_best": cpu,
        "replies_over_best": median(entries[rate], "replies_over_peer"),
        "replies_best": rate,
        "cpu_over_bare": round(bare, 3),
    }
