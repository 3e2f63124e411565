"""What a version takes under load beside the one that serves, when a promotion asks for it.

The same comparison as ``modelport perf compare``, so that a promotion, CI and a person who looks
for themselves go by one rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from modelport.perf import analyzer, compare, load, paired
from modelport.perf.compare import Comparison
from modelport.perf.paired import Tell as Turns
from modelport.rollout.change import Target
from modelport.rollout.intent import Tell

# Two loads, 18 turns of a second and a half each.
LOADS: Mapping[str, load.Closed] = {
    f"concurrency {callers}": load.Closed(callers, 1.5) for callers in (1, 8)
}
_ROUNDS = compare.ROUNDS


def run(
    target: Target,
    models: Mapping[str, int],
    bounds: Mapping[str, float],
    tell: Tell,
    *,
    named: Collection[str] = (),
    on_turn: Turns = lambda *_: None,
) -> dict[str, Comparison]:
    """Load versions that are to serve, and those that serve, in turn.

    Args:
        target: what is to serve.
        models: those to compare, with the versions that are to serve.
        bounds: by figure, see :func:`modelport.perf.compare.judge`.
        tell: hears of what begins.
        named: figures that have to be measured, whatever the others do.
        on_turn: hears of each turn: its load, how many rounds are done, of how many.

    Returns:
        Judged comparisons by model; A is what serves.

    Raises:
        LoadTestError: a reply was wrong or missing, or a server ended.
        ResultError: the load does not tell a figure that is named.
        ToolchainError: there is no perf_analyzer, and none could be fetched.
    """
    tool = analyzer.ensure(lambda event: tell(event.text))
    found = {}
    for name, version in models.items():
        tell(f"loading {name} {version} and what serves in turn")
        before = paired.side(target.repository, name, target.before[name][-1])
        after = paired.side(target.repository, name, version)
        plan = paired.Plan(LOADS, _ROUNDS, {(figure, load) for figure in named for load in LOADS})
        measured = paired.run(target.repository, before, after, plan, tool, on_turn)
        found[name] = compare.judge(measured, bounds, named=named)
    return found
