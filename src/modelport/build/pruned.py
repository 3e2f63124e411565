"""The steps of the variant ``pruned``: remove channels and train further, then export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from modelport.build import export, provenance, pruning, steps, training
from modelport.build.pruning import Cut
from modelport.build.steps import Done, Progress, Report
from modelport.spec.precision import Pruned

if TYPE_CHECKING:
    from modelport.build.network import NetworkBuild

_WEIGHTS = "weights.pt"
_ONNX = "model.onnx"


@dataclass(frozen=True)
class PrunedBuild:
    """A variant of a trained network with fewer channels; each property is done when first asked.

    Args:
        build: of the network as it was trained, in FP32.
        variant: how much is removed, and how it is trained afterwards.
    """

    build: NetworkBuild
    variant: Pruned

    @cached_property
    def trained(self) -> Done:
        """The step that leaves the weights of what stays, and ``facts`` of what went.

        Raises:
            BuilderError: as of :func:`modelport.build.pruning.prune`.
            MissingExtraError: torch-pruning is not installed.
        """
        pruning.import_torch_pruning()
        inputs = {
            "train": self.build.trained.key,
            "variant": repr(sorted(dataclasses.asdict(self.variant).items())),
            "library": provenance.library("build/pruning.py", "build/training.py"),
            "torch_pruning": metadata.version("torch-pruning"),
        }
        done = steps.run("prune", inputs, self._prune)
        facts = done.facts()
        before, after = facts["parameters"]
        words = f"{before:,} to {after:,} weights; {facts['epochs']} epochs, best {facts['best']}"
        self._report("prune", words, done)
        return done

    @cached_property
    def trained_network(self) -> nn.Module:
        """The whole network with fewer channels, in evaluation mode: what ``measure`` takes.

        Its shape is made again by the same cuts; the weights come from the step.
        """
        kept = torch.load(self.trained.folder / _WEIGHTS, weights_only=True)
        cuts = [Cut(layer, tuple(channels)) for layer, channels in self.trained.facts()["cuts"]]
        network = pruning.cut(self.build.trained_network, cuts, tuple(kept["example"]))
        network.load_state_dict(kept["weights"])
        return network.eval()

    @cached_property
    def network(self) -> Any:
        """What is served of it, in evaluation mode: the reference of the ONNX file."""
        part = self.build.model.part
        if part is None:
            return self.trained_network
        mend = "mend the function that takes the part: it gets the network with fewer channels"
        with self.build.builder.blamed(self.build.model, "`part` of the pruned network", mend):
            return part(self.trained_network).eval()

    @cached_property
    def exported(self) -> Done:
        """The step that leaves ``model.onnx``, simplified; its facts are those of both steps."""
        model, builder = self.build.model, self.build.builder
        inputs = {
            "prune": self.trained.key,
            "part": builder.fingerprint(model, "part") if model.part else "",
            "tensors": repr((model.inputs, model.outputs, model.max_batch_size)),
            "library": provenance.library("build/export*.py"),
            "versions": provenance.dependencies(),
        }
        done = steps.run("pruned", inputs, self._export)
        facts = done.facts()
        self._report("export", f"pruned: {facts['exporter']}, opset {facts['opset']}", done)
        return done

    @property
    def onnx_file(self) -> Path:
        """The ONNX file of the variant."""
        return self.exported.folder / _ONNX

    def _prune(self, folder: Path) -> Mapping[str, object]:
        build = self.build
        network, dataset = build.trained_network, build.dataset
        with build.builder.blamed(build.model, "training after pruning", "mend the training"):
            made = pruning.prune(
                network,
                build.model,
                dataset,
                self.variant,
                builder=build.builder.path,
                on_epoch=self._report_epoch,
            )
        kept = {"weights": made.network.state_dict(), "example": list(made.example)}
        torch.save(kept, folder / _WEIGHTS)
        return {**made.facts, "cuts": [[one.layer, list(one.channels)] for one in made.cuts]}

    def _export(self, folder: Path) -> Mapping[str, object]:
        model = self.build.model
        export.check_outputs(model, self.network, self.build.builder.path)
        unslimmed = folder / "exported.onnx"
        exported = export.export(model, self.network, unslimmed)
        export.slim(unslimmed, folder / _ONNX)
        unslimmed.unlink()
        return {**self.trained.facts(), **exported.as_dict()}

    def _report_epoch(self, epoch: training.Epoch) -> None:
        text = f"epoch {epoch.number}, validation loss {epoch.validation_loss:.4f}"
        progress = Progress(self.build.model.name, "prune", text, epoch.number, epoch.of)
        self.build.listener(progress)

    def _report(self, step: str, words: str, done: Done) -> None:
        took = None if done.cached else done.duration_s
        self.build.listener(Report(self.build.model.name, step, words, took))
