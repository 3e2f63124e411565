"""What every model of a builder file must answer: torch, a plain function, or a graph of those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build.loader import Builder
from modelport.errors import BuilderError
from modelport.repository.samples import Case
from modelport.spec.model import (
    Ensemble,
    Model,
    OnnxModel,
    PythonModel,
    SklearnModel,
    Step,
    TorchModel,
)
from modelport.spec.parts import Sample, Tensor, Tensors
from modelport.verify import in_process
from modelport.verify.asking import joined
from modelport.verify.cases import requests

# Samples of a network without any are drawn from here; other ranges are the builder's to give.
_NORMAL, _INTEGERS = 1.0, 2
_DRAWN = 8
_LENGTHS = (5, 3, 8)


class References:
    """Answers of a builder's models, computed without a server.

    Args:
        builder: the loaded builder file.
        network: gives the network of a :class:`TorchModel` as it is served.
        files: gives the folder of the files of a :class:`PythonModel`; needed where one is.
        estimator: gives what answers as a fitted :class:`SklearnModel`; likewise.
        graphs: gives the ONNX file that answers in the place of a network; None where the
            network itself does.
    """

    def __init__(
        self,
        builder: Builder,
        network: Callable[[TorchModel], Any],
        files: Callable[[PythonModel], Path] | None = None,
        estimator: Callable[[SklearnModel], Callable[[Tensors], Tensors]] | None = None,
        graphs: Callable[[TorchModel], Path | None] = lambda _: None,
    ) -> None:
        self._builder = builder
        self._network = network
        self._files = files
        self._estimator = estimator
        self._graphs = graphs
        self._sessions: dict[Path, Any] = {}
        self._functions: dict[str, Callable[..., Any]] = {}

    def answer(self, model: Model, inputs: Tensors) -> dict[str, np.ndarray]:
        """Answer as ``model`` must; raises :class:`BuilderError` if the reference itself fails."""
        try:
            if isinstance(model, TorchModel):
                if graph := self._graphs(model):
                    return in_process.run(self._session(graph), inputs)
                return _torch_answer(model, self._network(model), inputs)
            if isinstance(model, SklearnModel):
                assert self._estimator is not None
                return dict(self._estimator(model)(inputs))
            if isinstance(model, OnnxModel):
                file = self._builder.path.parent / model.file
                return in_process.run(self._session(file), inputs)
            if isinstance(model, PythonModel):
                return self._function(model, inputs)
            if isinstance(model, Ensemble):
                return self._graph(model, inputs)
        except BuilderError:
            raise
        except Exception as error:  # the user's code may raise anything; it is reported as theirs
            shapes = ", ".join(f"{name} {list(np.shape(a))}" for name, a in inputs.items())
            raise BuilderError(
                f"{self._builder.path}: model {model.name!r}: its reference fails on a sample"
                f" ({shapes}): {type(error).__name__}: {error}",
                next_step="mend the reference function, or the samples",
                model=model.name,
            ) from error
        raise TypeError(f"no reference for a {type(model).__name__}")

    def _function(self, model: PythonModel, inputs: Tensors) -> dict[str, np.ndarray]:
        """Call a Python model's function; the responses of a stream are joined."""
        if model.name not in self._functions:
            function = model.reference
            if function is None:
                assert model.load is not None
                assert self._files is not None
                function = model.load(self._files(model))
            self._functions[model.name] = function
        function = self._functions[model.name]
        answer = function(inputs, self._caller(model)) if model.calls else function(inputs)
        return joined(list(answer)) if model.decoupled else dict(answer)

    def _caller(self, model: PythonModel) -> Callable[[str, Tensors], dict[str, np.ndarray]]:
        def call(name: str, inputs: Tensors) -> dict[str, np.ndarray]:
            if name not in model.calls:
                raise BuilderError(
                    f"{self._builder.path}: model {model.name!r} calls {name!r}, which is not"
                    " among its `calls`",
                    next_step=f"add {name!r} to `calls`, or mend the name in the function",
                    model=model.name,
                    field="calls",
                )
            return self.answer(self._builder.model(name), inputs)

        return call

    def _session(self, file: Path) -> Any:
        if file not in self._sessions:
            self._sessions[file] = in_process.session(file)
        return self._sessions[file]

    def cases(self, model: Model, samples: Sequence[Sample]) -> list[Case]:
        """Make the requests of a proof, each with its expected answer."""
        made = []
        # A sequence is sent as it is: its first dimension is time.
        largest = 0 if model.delivery == "sequence" else model.max_batch_size
        for request in requests(samples, largest):
            inputs = {name: np.asarray(array) for name, array in request.inputs.items()}
            outputs = self.answer(model, inputs)
            truth = {name: np.asarray(array) for name, array in request.truth.items()}
            made.append(Case(inputs, self._declared(model, outputs), request.title, truth))
        return made

    def _declared(self, model: Model, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if model.delivery == "stream" and not outputs:
            return {}  # a stream may end without a response
        missing = [tensor.name for tensor in model.outputs if tensor.name not in outputs]
        if missing:
            raise BuilderError(
                f"{self._builder.path}: model {model.name!r}: field 'outputs': expected"
                f" {missing[0]!r}, but its reference gives {', '.join(outputs) or 'nothing'}",
                next_step="give the reference's outputs the names that are declared",
                model=model.name,
                field="outputs",
            )
        return {tensor.name: outputs[tensor.name] for tensor in model.outputs}

    def _graph(self, ensemble: Ensemble, inputs: Tensors) -> dict[str, np.ndarray]:
        tensors = dict(inputs)
        waiting = list(ensemble.steps)
        while waiting:
            ready = [step for step in waiting if self._has_inputs(step, tensors)]
            if not ready:
                names = ", ".join(step.model for step in waiting)
                raise BuilderError(
                    f"{self._builder.path}: ensemble {ensemble.name!r}: field 'steps': nothing"
                    f" feeds {names}",
                    next_step="map each input of a step to an input of the ensemble,"
                    " or to an output of another step",
                    model=ensemble.name,
                    field="steps",
                )
            for step in ready:
                tensors |= self._step(step, tensors)
                waiting.remove(step)
        return tensors

    def _has_inputs(self, step: Step, tensors: Tensors) -> bool:
        """Say whether all that the step's model requires is there, and something at all."""
        model = self._builder.model(step.model)
        optional = {tensor.name for tensor in model.inputs if tensor.optional}
        there = {name for name, outer in step.inputs.items() if outer in tensors}
        return bool(there) and set(step.inputs) - there <= optional

    def _step(self, step: Step, tensors: Tensors) -> dict[str, np.ndarray]:
        inputs = {name: tensors[outer] for name, outer in step.inputs.items() if outer in tensors}
        outputs = self.answer(self._builder.model(step.model), inputs)
        return {outer: outputs[name] for name, outer in step.outputs.items()}


def _torch_answer(model: TorchModel, network: Any, inputs: Tensors) -> dict[str, np.ndarray]:
    # Imports torch, which a file without networks does without.
    from modelport.build import export

    return export.reference(model, network, inputs)


def drawn_samples(model: Model) -> list[Sample]:
    """Draw seeded samples of the declared shapes: normal floats, integers of 0 and 1.

    Dimensions that vary have one length within a sample and others in the next, so
    that a length frozen by the export is found.
    """
    random = np.random.default_rng(0)
    lengths = islice(cycle(_LENGTHS), _DRAWN)
    return [
        Sample({tensor.name: _draw(tensor, length, random) for tensor in model.inputs})
        for length in lengths
    ]


def _draw(tensor: Tensor, length: int, random: np.random.Generator) -> np.ndarray:
    from tritonclient.utils import triton_to_np_dtype

    shape = [length if dim == -1 else dim for dim in tensor.dims]
    if tensor.datatype == "BYTES":
        return np.full(shape, b"sample", dtype=np.object_)
    dtype = np.dtype(triton_to_np_dtype(tensor.datatype))
    if dtype.kind in "biu":
        return random.integers(0, _INTEGERS, shape).astype(dtype)
    return random.normal(scale=_NORMAL, size=shape).astype(dtype)
