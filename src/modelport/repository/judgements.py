"""Judgements of variants as people read them: one table, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from modelport.errors import IntegrityError
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import JudgementEntry, RatesEntry, VariantEntry


class Table(NamedTuple):
    """A table for people."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


# Bounds of a figure's 95 % interval have its name with these behind it.
_BOUNDS = ("_low", "_high")


def newest(folder: ModelFolder) -> JudgementEntry | None:
    """Find the newest judgement that a version of a model carries."""
    for version in reversed(folder.proven_versions()):
        try:
            found = folder.manifest(version).judgement
        except IntegrityError:
            continue
        if found is not None:
            return found
    return None


def losses(judgement: JudgementEntry) -> Table:
    """Show what each variant loses, and what it takes on disk and in memory."""
    columns = (
        "variant",
        *figures(judgement),
        "cosine, least / mean",
        "worst |Δ|",
        "file",
        "memory",
        "load",
    )
    rows = [
        (
            variant.precision,
            *(_figure(variant, name) for name in figures(judgement)),
            f"{variant.least_cosine:.4f} / {variant.mean_cosine:.4f}",
            f"{variant.worst_absolute:.2g}",
            _size(variant, judgement),
            f"{variant.memory_bytes / 2**20:.0f} MiB" if variant.memory_bytes else "",
            f"{variant.load_ms:.0f} ms" if variant.load_ms else "",
        )
        for variant in judgement.variants
    ]
    return Table(columns, rows)


def gains(judgement: JudgementEntry) -> Table:
    """Show what each variant costs to serve, and the verdict on it."""
    callers = _concurrencies(judgement)
    times = [f"p50 / p99 of {one}" for one in callers]
    columns = ("variant", "CPU a reply", *times, "replies/s", "verdict")
    rows = [
        (
            variant.precision,
            _cpu(variant, judgement),
            *(_times(variant.rates.get(one)) for one in callers),
            _replies(variant, judgement),
            variant.verdict,
        )
        for variant in judgement.variants
    ]
    return Table(columns, rows)


def about(judgement: JudgementEntry) -> str:
    """Say what was measured, on what and where."""
    on = (
        f"figures on {judgement.count} items of the {judgement.split} split; "
        if judgement.split
        else ""
    )
    return f"{on}{judgement.server}; {judgement.machine}"


def title(judgement: JudgementEntry) -> str:
    """Say what was chosen, for what."""
    named = judgement.goal == judgement.chosen
    return f"{judgement.chosen}, as asked" if named else f"{judgement.chosen} for {judgement.goal}"


def figures(judgement: JudgementEntry) -> list[str]:
    """Name the figures that budgets speak of, or the first one where they speak of none."""
    values = judgement.variants[0].figures
    named = (budget.partition(" ")[0] for budget in judgement.budgets)
    found = list(dict.fromkeys(name for name in named if name in values))
    return found or [name for name in values if not name.endswith(_BOUNDS)][:1]


def bounds(values: Mapping[str, float], name: str) -> tuple[float, float] | None:
    """Give the 95 % interval of a figure, where it was measured."""
    low, high = (values.get(name + end) for end in _BOUNDS)
    return None if low is None or high is None else (low, high)


def _concurrencies(judgement: JudgementEntry) -> Sequence[str]:
    found: Iterable[str] = (one for variant in judgement.variants for one in variant.rates)
    return sorted(dict.fromkeys(found), key=int)


def _figure(variant: VariantEntry, name: str) -> str:
    if name not in variant.figures:
        return ""
    within = bounds(variant.figures, name)
    interval = f" ({within[0]:.3g} to {within[1]:.3g})" if within else ""
    return f"{variant.figures[name]:.4g}{interval}"


def _times(rates: RatesEntry | None) -> str:
    return f"{rates.p50_ms:.3g} / {rates.p99_ms:.3g} ms" if rates else ""


def _size(variant: VariantEntry, judgement: JudgementEntry) -> str:
    size, full = variant.size_bytes, judgement.variants[0].size_bytes
    shown = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    return shown if size == full else f"{shown} ({size / full:.2f} ×)"


def _cpu(variant: VariantEntry, judgement: JudgementEntry) -> str:
    alone = _concurrencies(judgement)[:1]
    if not alone or alone[0] not in variant.rates:
        return ""
    shown = f"{variant.rates[alone[0]].cpu_ms_per_reply:.3g} ms"
    ratio = variant.ratios.get("cpu")
    return f"{shown} ({ratio.ratio:.2f} ×)" if ratio else shown


def _replies(variant: VariantEntry, judgement: JudgementEntry) -> str:
    most = _concurrencies(judgement)[-1:]
    if not most or most[0] not in variant.rates:
        return ""
    return f"{variant.rates[most[0]].replies_per_s:.0f}"
