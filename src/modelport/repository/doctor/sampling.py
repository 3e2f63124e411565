"""Whether a model draws its answers at random, so that two equal requests may differ."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modelport.repository.doctor import calls
from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.repair import DropField
from modelport.repository.doctor.subject import Subject

# Inputs of text generation that steer a draw, and those that fix it.
_STEERING = ("temperature", "top_p", "top_k", "do_sample")
_SEEDS = ("seed", "random_seed")
_DRAWS = {
    "torch": ("rand", "randn", "randint", "randperm", "multinomial", "normal", "bernoulli"),
    "uuid": ("uuid1", "uuid4"),
}
# Anything of these modules, but for generators that are given their seed.
_RANDOM = ("random", "secrets", "numpy.random")
_GENERATORS = ("default_rng", "Generator", "RandomState", "Random", "seed", "PCG64")


def cached_sampler(subject: Subject) -> Iterator[Problem]:
    """The response cache would give one draw to everybody who asks the same."""
    cache = subject.config.response_cache
    if cache is None or not cache.enable:
        return
    for name in sorted(_reached(subject)):
        member = subject.neighbours.get(name)
        reason = _reason(member) if member else None
        if reason:
            yield Problem(
                field="response_cache.enable",
                expected="false, or a required seed among the inputs",
                got=f"true, and {name} {reason}",
                fix="remove response_cache, or demand a seed with every request",
                repairs=(DropField("response_cache"),),
            )
            return


def _reached(subject: Subject) -> set[str]:
    """Give the model and every model that answers for it."""
    found: set[str] = set()
    pending = [subject.name]
    while pending:
        name = pending.pop()
        member = subject.neighbours.get(name)
        if name in found or member is None or member.config_or_none is None:
            continue
        found.add(name)
        scheduling = member.config.ensemble_scheduling
        pending += [step.model_name for step in scheduling.step] if scheduling else []
        pending += calls.callees(member)
    return found


def _reason(subject: Subject) -> str | None:
    inputs = {tensor.name.lower(): tensor for tensor in subject.config.input}
    if any(name in inputs and not inputs[name].optional for name in _SEEDS):
        return None
    steering = [name for name in _STEERING if name in inputs]
    if steering:
        return f"takes {inputs[steering[0]].name!r}"
    for path, graph in subject.graphs():
        if graph.random_operators:
            return f"draws in {path.parent.name}/{path.name} ({graph.random_operators[0]})"
    for path, tree in subject.trees():
        draw = _draw(tree)
        if draw:
            return f"calls {ast.unparse(draw.func)} in line {draw.lineno} of {path.name}"
    return None


def _draw(tree: ast.Module) -> ast.Call | None:
    """Find the first call of a random source."""
    modules = _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, _, rest = ast.unparse(node.func).partition(".")
            full = modules.get(head)
            if full and _is_draw(f"{full}.{rest}".rstrip("."), node):
                return node
    return None


def _is_draw(name: str, call: ast.Call) -> bool:
    module, _, function = name.rpartition(".")
    if module in _RANDOM:
        return not (function in _GENERATORS and (call.args or call.keywords))
    return function in _DRAWS.get(module, ())


def _imports(tree: ast.Module) -> dict[str, str]:
    """Give what each imported name stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found
