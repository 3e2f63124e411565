"""Variants of a trained network: made, measured in this process, and what they lose.

A variant is one ONNX file made from that of the network. Its figures are those of the file, run
by ONNX Runtime; a pruned one is a torch network of its own, and measured as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelport.build import half, making, provenance, steps
from modelport.build.network import NetworkBuild
from modelport.build.pruned import PrunedBuild
from modelport.build.steps import Done, Report
from modelport.errors import BuilderError
from modelport.repository import digests
from modelport.repository.manifest import Metrics
from modelport.repository.samples import Samples
from modelport.spec.precision import COSINE, FULL, MEAN_COSINE, Budget, Pruned, Variant
from modelport.verify import closeness, in_process
from modelport.verify.closeness import Closeness

# What a variant may lose where the declaration does not say.
_DROP, _COSINE = 0.005, 0.99


@dataclass
class VariantBuild:
    """One variant on its way; each property is done when first asked for, and kept.

    Args:
        network: of which it is made.
        variant: which one; ``None`` for the network as it was trained.
        cases: the step that made the requests of the proof, with the network's answers.
    """

    network: NetworkBuild
    variant: Variant | None
    cases: Done

    @property
    def precision(self) -> str:
        """What people call it."""
        return self.variant.name if self.variant else FULL

    @property
    def served_on_cpu(self) -> bool:
        """Say whether it is made for this kind of machine; 16-bit floats are for GPUs."""
        return self.precision not in making.FOR_GPUS

    @cached_property
    def onnx_file(self) -> Path:
        """The ONNX file; raises :class:`~modelport.errors.BuildError` if it cannot be made."""
        if self.variant is None:
            return self.network.onnx_file
        return making.make(self.network, self.variant, self.cases).folder / "model.onnx"

    @cached_property
    def sha256(self) -> str:
        """Digest of the ONNX file."""
        return digests.of_file(self.onnx_file)

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """Figures on the test split; empty for a network without data."""
        model, builder = self.network.model, self.network.builder
        if self.network.metrics is None:
            return {}
        if self.variant is None:
            return self.network.metrics.values
        inputs = {
            "onnx": self.sha256,
            "data": [file.entry.sha256 for file in self.network.fetched],
            "builder": builder.fingerprint(model, "data", "evaluate", "measure"),
            "library": [
                builder.library,
                provenance.library("build/evaluation.py", "build/variants.py"),
            ],
        }
        done = steps.run("figures", inputs, lambda _: self._measure())
        found: dict[str, float] = done.facts()["values"]
        self._report("figures", self._shown(found), done)
        return found

    @property
    def metrics(self) -> Metrics | None:
        """The figures as the manifest has them, with the network's gates and baselines."""
        found = self.network.metrics
        return found.model_copy(update={"values": dict(self.figures)}) if found else None

    @cached_property
    def closeness(self) -> Closeness:
        """How close its answers to the proof's requests lie to those of torch."""
        inputs = {
            "onnx": self.sha256,
            "cases": self.cases.key,
            "library": provenance.library("verify/closeness.py", "build/variants.py"),
        }
        done = steps.run("closeness", inputs, lambda _: asdict(self._closeness()))
        found = Closeness(**done.facts())
        words = f"cosine at least {found.least_cosine:.4f}, worst |Δ| {found.worst_absolute:.2g}"
        self._report("closeness", words, done)
        return found

    def lost(self, full: VariantBuild) -> list[str]:
        """Say which budgets and gates it does not keep, beside ``fp32``; empty if all."""
        return [*self._budgets_broken(full), *self._gates_broken()]

    def _budgets_broken(self, full: VariantBuild) -> list[str]:
        broken = []
        for budget in budgets(self.network):
            if budget.metric in (COSINE, MEAN_COSINE) and isinstance(self.variant, Pruned):
                continue  # it was trained further, and has answers of its own
            before, after = full.figure(budget.metric), self.figure(budget.metric)
            if not budget.holds(before, after):
                relative = budget.at_least is None
                beside = f" and {before:.5g} in fp32" if relative else ""
                broken.append(
                    f"{budget.metric} is {after:.5g}{beside}; the budget: {budget.describe()}"
                )
        return broken

    def _gates_broken(self) -> list[str]:
        return [
            f"{gate.metric} is {self.figures[gate.metric]:.5g}; the gate: {gate.describe()}"
            for gate in self.network.model.gates
            if not gate.holds(self.figures[gate.metric])
        ]

    def figure(self, metric: str) -> float:
        """Give a figure that a budget speaks of; raises :class:`BuilderError` without it."""
        if metric == COSINE:
            return self.closeness.least_cosine
        if metric == MEAN_COSINE:
            return self.closeness.mean_cosine
        if metric in self.figures:
            return self.figures[metric]
        model = self.network.model
        raise BuilderError(
            f"{self.network.builder.path}: model {model.name!r}: budget on {metric!r}, but the"
            f" evaluation gives {', '.join(self.figures) or 'nothing'}",
            next_step="mend the budget's metric, or measure it in `evaluate`",
            model=model.name,
            field="budgets",
        )

    def _measure(self) -> Mapping[str, object]:
        if isinstance(self.variant, Pruned):
            network = PrunedBuild(self.network, self.variant).trained_network
        else:
            network = Graph(self._session, self.network.model.max_batch_size)
        return {"values": dict(self.network.measured(network))}

    def _closeness(self) -> Closeness:
        cases = Samples.read(self.cases.folder / "samples.json").cases
        batched = self.network.model.max_batch_size > 0
        session = self._session
        return closeness.measure(
            lambda inputs: in_process.run(session, inputs), cases, batched=batched
        )

    @property
    def _session(self) -> Any:
        return (in_process if self.served_on_cpu else half).session(self.onnx_file)

    def _shown(self, values: Mapping[str, float]) -> str:
        names = dict.fromkeys(budget.metric for budget in budgets(self.network))
        shown = [name for name in names if name in values] or list(values)[:1]
        return ", ".join(f"{name} {values[name]:.4g}" for name in shown)

    def _report(self, step: str, words: str, done: Done) -> None:
        took = None if done.cached else done.duration_s
        name = f"{self.network.model.name} {self.precision}"
        self.network.listener(Report(name, step, words, took))


def budgets(network: NetworkBuild) -> Sequence[Budget]:
    """Give what variants of a network may lose: what it declares, or what suits most."""
    model = network.model
    if model.budgets:
        return model.budgets
    gated = [
        Budget(gate.metric, drop=_DROP)
        if gate.at_least is not None
        else Budget(gate.metric, rise=_DROP)
        for gate in model.gates
    ]
    return [*gated, Budget(COSINE, at_least=_COSINE)]


class Graph(nn.Module):
    """An ONNX file in the place of the network, for the functions that measure networks.

    Args:
        session: of ONNX Runtime.
        most: items that are run at once; 0 for as many as there are. Ranges of a dynamically
            quantized graph are those of its batch, so it is measured in batches that it serves.
    """

    def __init__(self, session: Any, most: int = 0) -> None:
        super().__init__()
        self._run = session
        self._inputs = [tensor.name for tensor in session.get_inputs()]
        self._most = most

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Answer as the file does: its inputs in their order, its outputs in theirs."""
        size = self._most or max(1, len(tensors[0]))
        parts = [
            self._run.run(None, dict(zip(self._inputs, some, strict=True)))
            for start in range(0, len(tensors[0]), size)
            if (some := [tensor[start : start + size].numpy() for tensor in tensors])
        ]
        outputs = tuple(
            torch.cat([torch.from_numpy(part[i]) for part in parts]) for i in range(len(parts[0]))
        )
        return outputs[0] if len(outputs) == 1 else outputs
