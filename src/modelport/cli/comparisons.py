"""How `diff` shows many models: a table for people, Markdown for a pull request, JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelport.repository import markdown
from modelport.repository.card import figure_text, megabytes

if TYPE_CHECKING:
    from modelport.rollout.outlook import Comparison, Facts

_COLUMNS = ("model", "version", "figures", "worst Δ", "p50", "size", "")
_NOTE = (
    "Figures with a gate, with the 95 % interval where one was measured. Worst Δ: the largest"
    " difference to the reference, through the server. p50: of single requests, on the machine that"
    " proved the version; `modelport promote` times both side by side."
)
NOTHING = "of each model the newest proven version serves"


def rows(compared: Sequence[Comparison]) -> tuple[Sequence[str], list[tuple[object, ...]]]:
    """Give columns and rows of a table, one row for each model."""
    return _COLUMNS, [_row(one, str, ",\n") for one in compared]


def as_markdown(compared: Sequence[Comparison], title: str) -> str:
    """Write a table for a pull request."""
    if not compared:
        return f"### {title}\n\nNothing: {NOTHING}.\n"
    lines = [_row(one, markdown.code, "<br>") for one in compared]
    return f"### {title}\n\n{markdown.table(_COLUMNS, lines)}\n\n{_NOTE}\n"


def as_json(one: Comparison) -> dict[str, Any]:
    """Give a comparison as plain values."""
    return {
        "model": one.model,
        "serves": list(one.served),
        "new": one.is_new,
        "before": _facts(one.before),
        "after": _facts(one.after),
        "gates": dict(one.gates),
        "comparable": one.comparable,
        "worse": [vars(loss) for loss in one.worse],
        "rolled_back": one.rolled_back,
    }


def _facts(facts: Facts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    figures = {
        name: {"value": value, "low": bounds and bounds[0], "high": bounds and bounds[1]}
        for name, (value, bounds) in facts.figures.items()
    }
    return vars(facts) | {"figures": figures, "p50_ms": dict(facts.p50_ms)}


def _row(one: Comparison, name: Callable[[str], str], line: str) -> tuple[object, ...]:
    """Write one row; ``name`` shows what people have named, ``line`` parts what stands apart."""
    old, new = one.before, one.after
    return (
        name(one.model),
        f"{', '.join(map(str, one.served))} → {new.version}" if one.served else new.version,
        line.join(_figures(one, name)),
        _pair(f"{old.worst_absolute:.2g}" if old else None, f"{new.worst_absolute:.2g}"),
        line.join(_latencies(old.p50_ms if old else {}, new.p50_ms)),
        _pair(megabytes(old.size_bytes) if old else None, megabytes(new.size_bytes)),
        _verdict(one, name, line),
    )


def _figures(one: Comparison, name: Callable[[str], str]) -> Iterator[str]:
    old = one.before.figures if one.before else {}
    for figure, found in one.after.figures.items():
        text = figure_text(*found)
        if figure in old:
            change = f", {found[0] - old[figure][0]:+.2g}" if one.comparable else ""
            text = f"{figure_text(*old[figure])} → {text}{change}"
        gate = f", gate {one.gates[figure]}" if figure in one.gates else ""
        yield f"{name(figure)} {text}{gate}"
    for figure in old.keys() - one.after.figures.keys():
        yield f"{name(figure)} {figure_text(*old[figure])} → not measured"


def _latencies(old: Mapping[str, float], new: Mapping[str, float]) -> Iterator[str]:
    for transport, p50_ms in new.items():
        before = f"{old[transport]:.3g}" if transport in old else None
        yield f"{transport} {_pair(before, f'{p50_ms:.3g}')} ms"


def _pair(old: str | None, new: str) -> str:
    return new if old is None or old == new else f"{old} → {new}"


def _verdict(one: Comparison, name: Callable[[str], str], line: str) -> str:
    if one.is_new:
        return "new: serves as soon as it is pushed"
    said = [
        f"✗ {name(loss.figure)} is worse by {loss.by:.2g}, allowed is {loss.bound:g}"
        for loss in one.worse
    ]
    if one.rolled_back is not None:
        said.append("✗ was rolled back" + (f": {name(one.rolled_back)}" if one.rolled_back else ""))
    if not one.comparable:
        said.append("measured on other data: not compared")
    if one.before is None:
        said.append("what serves was never proven")
    return line.join(said) or "✓ ok"
