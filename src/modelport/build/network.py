"""The steps that only a torch network takes: train, evaluate, export, slim, parity."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from modelport.build import evaluation, export, provenance, steps, training
from modelport.build.dataset import Dataset
from modelport.build.loader import Builder
from modelport.build.sources import Fetched
from modelport.build.steps import Done, Listener, Progress, Report
from modelport.errors import BuilderError, DataError, GateError, ParityError
from modelport.repository.manifest import Metrics
from modelport.repository.samples import Samples
from modelport.spec.model import TorchModel
from modelport.spec.parts import Gate, Training
from modelport.verify import in_process
from modelport.verify.parity import Parity

# Fields of a declaration that the weights depend on; a change of any other keeps them.
_TRAINED_BY = ("network", "data", "sources", "training", "inputs")
_MEND = "mend the network, the data or the functions that the builder names"
_WEIGHTS = "weights.pt"
_ONNX = "model.onnx"


@dataclass
class NetworkBuild:
    """One torch model on its way to a proven ONNX file; each property is done when first asked for.

    Args:
        builder: the file that declares it.
        model: the declaration.
        fetched: its data files.
        listener: hears of every step.
        whole: the model that trains the network of which this one serves a part.
    """

    builder: Builder
    model: TorchModel
    fetched: list[Fetched]
    listener: Listener
    whole: NetworkBuild | None = None
    parity_found: Parity | None = None

    # What the ONNX file is compared with.
    reference: ClassVar[str] = "torch"

    def run(self, cases: Done) -> None:
        """Take every step up to parity in this process.

        Raises:
            GateError: a figure is outside its bound, or the ONNX file differs from torch.
        """
        self.check_gates()
        self.parity_found = self.parity(cases)

    @cached_property
    def dataset(self) -> Dataset:
        """The data, read and split; raises :class:`~modelport.errors.DataError`."""
        assert self.model.data is not None
        mend = "mend the function, or the file that it reads"
        with self.builder.blamed(self.model, "`data`", mend, as_error=DataError):
            dataset = self.model.data(*(file.path for file in self.fetched))
        self._check_dataset(dataset)
        assert isinstance(dataset, Dataset)
        return dataset

    @cached_property
    def trained(self) -> Done:
        """The step that leaves the trained weights."""
        if self.whole:
            return self.whole.trained
        inputs = self._key("build/training.py", "build/dataset.py")
        if self.model.training is None:
            # Its weights come from a file that may change while the builder stays as it is.
            inputs |= {"weights": _weights_digest(self._new_network())}
        settings = _settings(self.model.training)
        done = steps.run("train", inputs | {"training": settings}, self._train)
        facts = done.facts()
        words = "comes trained"
        if "epochs" in facts:
            words = f"{facts['epochs']} epochs, best {facts['best']}"
        self._report("train", words, done)
        return done

    @cached_property
    def network(self) -> Any:
        """What is served of the trained network, in evaluation mode."""
        return self._part(self.trained_network)

    @cached_property
    def trained_network(self) -> Any:
        """The trained network as a whole, in evaluation mode."""
        if self.whole:
            return self.whole.trained_network
        network = self._new_network()
        weights = torch.load(self.trained.folder / _WEIGHTS, weights_only=True)
        network.load_state_dict(weights)
        return network.eval()

    @cached_property
    def metrics(self) -> Metrics | None:
        """Figures on the test split; ``None`` for a network without data."""
        if self.model.data is None:
            return None
        inputs = {
            "train": self.trained.key,
            "builder": self.builder.fingerprint(
                self.model, "data", "evaluate", "measure", "baselines"
            ),
            "library": [self.builder.library, provenance.library("build/evaluation.py")],
        }
        done = steps.run("evaluate", inputs, lambda _: self._evaluate())
        return self._evaluated(done, split="test", items="test items")

    def _evaluated(self, done: Done, *, split: str, items: str) -> Metrics:
        """Report the figures of an evaluation, the baselines' beside them, and give them."""
        facts = done.facts()
        values, baselines = facts["values"], facts["baselines"]
        shown = self._shown(values)
        text = ", ".join(f"{k} {values[k]:.4g}" for k in shown)
        for title, others in baselines.items():
            text += f"; {title} {', '.join(f'{others[k]:.4g}' for k in shown if k in others)}"
        self._report("evaluate", f"{text} on {facts['count']} {items}", done)
        return Metrics(
            split=split,
            count=facts["count"],
            values=values,
            gates={gate.metric: gate.describe() for gate in self.model.gates},
            baselines=baselines,
        )

    @cached_property
    def exported(self) -> Done:
        """The step that leaves the ONNX file as the exporter wrote it."""
        inputs = {
            "train": self.trained.key,
            "part": self.builder.fingerprint(self.model, "part") if self.model.part else "",
            "tensors": repr((self.model.inputs, self.model.outputs, self.model.max_batch_size)),
            "library": provenance.library("build/export*.py"),
            "versions": provenance.dependencies(),
        }
        done = steps.run("export", inputs, self._export)
        facts = done.facts()
        because = f" (torch.export: {facts['reason']})" if facts["reason"] else ""
        self._report("export", f"{facts['exporter']}, opset {facts['opset']}{because}", done)
        return done

    @cached_property
    def slimmed(self) -> Done:
        """The step that leaves the simplified ONNX file, which is the one that serves."""
        done = steps.run("slim", {"export": self.exported.key}, self._slim)
        facts = done.facts()
        self._report("slim", f"{facts['nodes_before']} to {facts['nodes_after']} nodes", done)
        return done

    @property
    def onnx_file(self) -> Path:
        """The ONNX file that serves."""
        return self.slimmed.folder / _ONNX

    def check_gates(self) -> None:
        """Compare the figures with their bounds; raises :class:`GateError` with all of them."""
        for gate in self.model.gates:
            self._check_gate(gate)

    def parity(self, cases: Done) -> Parity:
        """Compare the ONNX file with torch; raises :class:`ParityError`."""
        inputs = {
            "slim": self.slimmed.key,
            "cases": cases.key,
            "tolerance": asdict(self.model.tolerance),
            "library": provenance.library("verify"),
        }
        done = steps.run("parity", inputs, lambda _: self._parity(cases))
        facts = done.facts()
        worst = facts["worst_absolute"]
        self._report("parity", f"{facts['requests']} requests, worst |Δ| {worst:.2g}", done)
        return Parity(facts["requests"], worst, facts["worst_relative"], set(facts["batch_sizes"]))

    def _key(self, *library: str) -> dict[str, object]:
        return {
            "builder": self.builder.fingerprint(self.model, *_TRAINED_BY),
            "model": self.model.name,
            "data": [file.entry.sha256 for file in self.fetched],
            "library": [self.builder.library, provenance.library(*library)],
            "torch": torch.__version__,
        }

    def _part(self, network: Any) -> Any:
        if self.model.part is None:
            return network
        with self.builder.blamed(self.model, "`part`", "mend the function that takes the part"):
            return self.model.part(network).eval()

    def _new_network(self) -> Any:
        assert self.model.network is not None
        training.seed_everything(self.model.training.seed if self.model.training else 0)
        mend = "mend the function that makes the network"
        paths = [file.path for file in self.fetched]
        with self.builder.blamed(self.model, "`network`", mend):
            takes_paths = bool(inspect.signature(self.model.network).parameters)
            network = self.model.network(*(paths if takes_paths else ()))
        if not isinstance(network, torch.nn.Module):
            raise BuilderError(
                f"{self.builder.path}: model {self.model.name!r}: field 'network': expected a"
                f" function that gives a torch.nn.Module, got {type(network).__name__}",
                model=self.model.name,
                field="network",
            )
        return network

    def _train(self, folder: Path) -> Mapping[str, object]:
        settings = self.model.training
        network = self._new_network()
        # Before hours of training: does the network fit its declaration at all?
        export.check_outputs(self.model, self._part(network), self.builder.path)
        facts: Mapping[str, object] = {}
        if settings is not None:
            names = self._forward_inputs()
            dataset = self.dataset
            with self.builder.blamed(self.model, "training", _MEND):
                history = training.fit(
                    network, dataset, settings, names, on_epoch=self._report_epoch
                )
            self._check_learned(history)
            facts = history.as_dict()
        torch.save(network.state_dict(), folder / _WEIGHTS)
        return facts

    def _check_learned(self, history: training.History) -> None:
        if history.best == 0:
            raise BuilderError(
                f"{self.builder.path}: model {self.model.name!r}: the validation loss was never a"
                f" finite number in {history.epochs} epochs",
                cause="the learning rate is too high, or the data holds NaN",
                next_step="mend the data, or lower Training.learning_rate",
                model=self.model.name,
                field="training",
            )

    def _report_epoch(self, epoch: training.Epoch) -> None:
        text = f"epoch {epoch.number}, validation loss {epoch.validation_loss:.4f}"
        self.listener(Progress(self.model.name, "train", text, epoch.number, epoch.of))

    def _check_dataset(self, dataset: object) -> None:
        if not isinstance(dataset, Dataset):
            raise BuilderError(
                f"{self.builder.path}: model {self.model.name!r}: field 'data': expected a"
                f" function that gives a modelport.build.Dataset, got {type(dataset).__name__}",
                next_step="end it with `return Dataset.split({...}, targets)`",
                model=self.model.name,
                field="data",
            )
        declared = set(self._forward_inputs()) if self.model.measure is None else set()
        if missing := sorted(declared - set(dataset.test.inputs)):
            raise BuilderError(
                f"{self.builder.path}: model {self.model.name!r}: the dataset has no input"
                f" {missing[0]!r}; it has {', '.join(dataset.test.inputs)}",
                next_step="name the dataset's inputs as the model's are declared",
                model=self.model.name,
                field="data",
            )

    def measured(self, network: Any) -> dict[str, float]:
        """Give the figures of a network, the trained one or one in its place, on the test split."""
        with self.builder.blamed(self.model, "evaluation", _MEND):
            return _floats(self._measure(network))

    def _evaluate(self) -> Mapping[str, object]:
        values = self.measured(self.trained_network)
        baselines = {}
        for title, baseline in self.model.baselines.items():
            with self.builder.blamed(self.model, f"baseline {title!r}", _MEND):
                baselines[title] = _floats(baseline(self.dataset))
        return {"count": len(self.dataset.test), "values": values, "baselines": baselines}

    def _measure(self, network: Any) -> Mapping[str, float]:
        if self.model.measure is not None:
            return self.model.measure(network, self.dataset)
        test = self.dataset.test
        outputs = training.predict(network, test, self._forward_inputs())
        return (self.model.evaluate or evaluation.classification)(outputs, test.targets)

    def _forward_inputs(self) -> list[str]:
        """Names of the dataset's arrays that the whole network takes."""
        settings = self.model.training
        own = settings.inputs if settings else ()
        return list(own) or [tensor.name for tensor in self.model.inputs]

    def _shown(self, values: Mapping[str, float]) -> list[str]:
        metrics = dict.fromkeys(gate.metric for gate in self.model.gates)
        gated = [metric for metric in metrics if metric in values]
        return gated or list(values)[:1]

    def _check_gate(self, gate: Gate) -> None:
        assert self.metrics is not None
        values = self.metrics.values
        if gate.metric not in values:
            raise BuilderError(
                f"{self.builder.path}: model {self.model.name!r}: gate on {gate.metric!r}, but"
                f" the evaluation gives {', '.join(values)}",
                next_step="mend the gate's metric, or measure it in `evaluate`",
                model=self.model.name,
                field="gates",
            )
        if not gate.holds(values[gate.metric]):
            figures = "\n".join(f"    {name:<16} {value:.4f}" for name, value in values.items())
            raise GateError(
                f"model {self.model.name!r}: {gate.metric} is {values[gate.metric]:.4f} on"
                f" {self.metrics.count} test items; the gate is {gate.describe()}\n{figures}",
                cause="the network learned too little, or the gate is too strict for this data",
                next_step=f"change the network or its training in {self.builder.path}, and build"
                f" again; the weights are kept in {self.trained.folder}",
                model=self.model.name,
                gate=gate,
                metrics=dict(values),
            )

    def _export(self, folder: Path) -> Mapping[str, object]:
        export.check_outputs(self.model, self.network, self.builder.path)
        return export.export(self.model, self.network, folder / _ONNX).as_dict()

    def _slim(self, folder: Path) -> Mapping[str, object]:
        import onnx

        source, target = self.exported.folder / _ONNX, folder / _ONNX
        export.slim(source, target)
        before, after = (
            onnx.load(str(file), load_external_data=False) for file in (source, target)
        )
        return {"nodes_before": len(before.graph.node), "nodes_after": len(after.graph.node)}

    def _parity(self, cases: Done) -> Mapping[str, object]:
        wanted = Samples.read(cases.folder / "samples.json").cases
        found = in_process.parity(self.onnx_file, wanted, self.model.tolerance)
        if found.problems:
            raise ParityError(
                f"model {self.model.name!r}: the ONNX file differs from {self.reference} in"
                f" {len(found.problems)} of {found.requests} requests; the first:"
                f"\n    {found.problems[0]}",
                cause="an operator that exports differently, or a tolerance too strict for float32",
                next_step=f"look at {self.onnx_file}; set `tolerance` in {self.builder.path}",
                model=self.model.name,
                problems=found.problems,
            )
        return asdict(found) | {"batch_sizes": sorted(found.batch_sizes)}

    def _report(self, step: str, words: str, done: Done) -> None:
        took = None if done.cached else done.duration_s
        self.listener(Report(self.model.name, step, words, took))


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _weights_digest(network: Any) -> str:
    weights = sorted(network.state_dict().items())
    content = hashlib.sha256()
    for name, tensor in weights:
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        content.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _settings(settings: Training | None) -> str:
    """Show the settings for a key; functions are told by the builder's fingerprint."""
    if settings is None:
        return ""
    fields = asdict(settings).items()
    return repr(sorted((name, value) for name, value in fields if not callable(value)))
