"""What a builder file declares: a network, a Python model or an ensemble, and what must hold.

The kinds share their public face (name, tensors, batching, serving) and
differ in where their answers come from::

    TorchModel   a torch network, trained or loaded here, exported to ONNX
    SklearnModel a scikit-learn classifier, fitted here, exported to ONNX
    OnnxModel    an ONNX file that others made
    PythonModel  a ``model.py`` that lies in the repository, beside its reference function
    Ensemble     a graph over the other two

Nothing here imports torch: networks and data appear as callables only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

from modelport.spec.config import (
    CALLS_PARAMETER,
    EnsembleStep,
    ModelConfig,
    ModelEnsembling,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelResponseCache,
    ModelSequenceBatching,
    ModelTransactionPolicy,
)
from modelport.spec.parts import (
    STRICT,
    Gate,
    LocalFile,
    Sample,
    Serving,
    Source,
    Tensor,
    Tolerance,
    Training,
)
from modelport.spec.precision import Budget, NamedVariant

# What lies in the version folders; a plan is an ONNX model that TensorRT compiled for one GPU.
Kind: TypeAlias = Literal["onnx", "python", "ensemble", "plan"]
# One answer to each request; one to each request of a sequence; several to one request.
Delivery: TypeAlias = Literal["single", "sequence", "stream"]
# Triton takes the folder's name for the model's name, so it must be a plain file name.
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Model:
    """What every kind of model declares.

    Args:
        name: folder in the repository, and the name that clients call.
        max_batch_size: the largest batch; 0 for a model that does not batch, whose
            tensors then carry all their dimensions in ``dims``.
        tolerance: how far the server's answers may lie from the reference.
        sources: the files that ``samples`` (and ``data``) read; each is called with one
            path per source, in order.
        samples: makes the items that are sent through the server as the proof.
        public: offered to clients; by default every model that no other model of the
            same file runs or calls.
        doc: one sentence for people who choose a model.
        limits: what it is not good for, one sentence each, for the model card.
    """

    # What lies in its version folders; each kind of model says.
    kind: ClassVar[Kind]

    name: Name
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    max_batch_size: Annotated[int, Field(ge=0)] = 64
    serving: Serving = Field(default_factory=Serving)
    tolerance: Tolerance = Field(default_factory=Tolerance)
    sources: tuple[Source | LocalFile, ...] = ()
    samples: Callable[..., Sequence[Sample]] | None = None
    public: bool | None = None
    doc: str = ""
    limits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _tensors_have_their_own_names(self) -> Model:
        for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{side} named more than once: {', '.join(twice)}")
        optional = {tensor.name for tensor in self.inputs if tensor.optional}
        for tensor in (*self.inputs, *self.outputs):
            if tensor.instead_of and not {tensor.name, tensor.instead_of} <= optional:
                raise ValueError(f"{tensor.name!r}: no optional input {tensor.instead_of!r}")
        return self

    @property
    def runs(self) -> frozenset[str]:
        """Names of the models that it has answer a part of each request."""
        return frozenset()

    @property
    def delivery(self) -> Delivery:
        """How its answers come."""
        return "single"

    def config(self) -> ModelConfig:
        """Triton's model configuration of this model."""
        return ModelConfig(name=self.name, **self._config_fields())

    def _config_fields(self) -> dict[str, Any]:
        cache = ModelResponseCache(enable=True) if self.serving.response_cache else None
        return {
            "max_batch_size": self.max_batch_size,
            "input": tuple(_model_input(tensor) for tensor in self.inputs),
            "output": tuple(_model_output(tensor) for tensor in self.outputs),
            "dynamic_batching": self.serving.dynamic_batching,
            "parameters": dict(self.serving.parameters),
            "response_cache": cache,
            "model_warmup": self.serving.warmup,
        }


def _model_input(tensor: Tensor) -> ModelInput:
    return ModelInput(
        name=tensor.name,
        data_type=tensor.config_type,
        dims=tensor.dims,
        optional=tensor.optional,
    )


def _model_output(tensor: Tensor) -> ModelOutput:
    return ModelOutput(
        name=tensor.name,
        data_type=tensor.config_type,
        dims=tensor.dims,
        label_filename=label_file(tensor) if tensor.labels else "",
    )


def label_file(tensor: Tensor) -> str:
    """Name of the file in the model's folder that holds an output's class names."""
    return f"{tensor.name}_labels.txt"


@dataclass(frozen=True, config=STRICT, kw_only=True)
class TorchModel(Model):
    """A torch network that is trained or loaded here and served as ONNX.

    Args:
        network: makes the ``torch.nn.Module``; its ``forward`` takes the inputs in
            the order of ``inputs`` and gives one tensor per output, in order. It is called
            with one path per source where it takes arguments.
        weights_of: name of another model of the file whose trained network this one
            serves a ``part`` of, instead of a ``network`` of its own.
        part: makes of the trained network what is served: one half of it, or the network
            with a softmax on top. Training and evaluation see the whole.
        data: makes a :class:`modelport.build.Dataset`, its inputs by tensor name; ``None``
            for a network that is neither trained nor measured. Test items are the
            samples where ``samples`` makes none.
        training: how it is trained; ``None`` for a network that comes trained. Name the
            file of its weights in ``sources``: then an unchanged build starts in no time.
        evaluate: figures of the test split, from (outputs, targets); by default
            those of :func:`modelport.build.evaluation.classification`.
        measure: the same from (network, dataset), for figures that need more than outputs.
        baselines: title to a simple method's figures on the same split, from the dataset.
        gates: bounds that the network's figures must meet.
        variants: the same network at less cost, by name (``"int8"``) or with settings;
            ``modelport build --choose`` makes them, judges them and publishes the best.
        budgets: what a variant may lose. Without any, figures with a gate may be worse by
            0.005 and the cosine at least 0.99; gates hold in any case.
        calibration: makes, of the training split, the arrays that ``"int8"`` finds its ranges
            on, by tensor name; needed where the data set has other inputs than the model.
    """

    kind: ClassVar[Kind] = "onnx"

    network: Callable[..., Any] | None = None
    weights_of: Name | None = None
    part: Callable[[Any], Any] | None = None
    data: Callable[..., Any] | None = None
    training: Training | None = None
    evaluate: Callable[[Any, Any], Mapping[str, float]] | None = None
    measure: Callable[[Any, Any], Mapping[str, float]] | None = None
    baselines: Mapping[str, Callable[[Any], Mapping[str, float]]] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    variants: tuple[NamedVariant, ...] = ()
    budgets: tuple[Budget, ...] = ()
    calibration: Callable[[Any], Any] | None = None

    @model_validator(mode="after")
    def _has_one_network(self) -> TorchModel:
        if (self.network is None) == (self.weights_of is None):
            raise ValueError("a model has either a `network` or `weights_of` another")
        if self.weights_of and (self.data or self.training or self.gates):
            raise ValueError("`weights_of` takes data, training and gates from the other model")
        return self

    @model_validator(mode="after")
    def _data_where_needed(self) -> TorchModel:
        if self.data is None and (self.training or self.gates or self.baselines):
            raise ValueError("training, baselines and gates need `data`")
        if self.evaluate and self.measure:
            raise ValueError("figures come from `evaluate` or from `measure`, not from both")
        return self

    @model_validator(mode="after")
    def _variants_can_be_made(self) -> TorchModel:
        names = [variant.name for variant in self.variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"variants named more than once: {', '.join(twice)}")
        calibrated = [variant.name for variant in self.variants if variant.needs_calibration]
        if self.data is None and calibrated:
            raise ValueError(f"the variant {calibrated[0]} needs `data` to calibrate it on")
        if self.training is None and "pruned" in names:
            raise ValueError("the variant pruned needs `training`, which goes on with less")
        return self

    def _config_fields(self) -> dict[str, Any]:
        return super()._config_fields() | _onnxruntime(self.serving)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class OnnxModel(Model):
    """An ONNX file that others made; its reference is ONNX Runtime in this process.

    Args:
        file: the file; a relative path starts at the builder file's folder.
    """

    kind: ClassVar[Kind] = "onnx"

    file: Path

    def _config_fields(self) -> dict[str, Any]:
        return super()._config_fields() | _onnxruntime(self.serving)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SklearnModel(Model):
    """A scikit-learn classifier that is fitted here and served as ONNX.

    Its inputs are FP32 columns, joined in their order; its outputs are any of ``label``
    (BYTES [1], a class), ``probability`` (FP32 [1], of the label) and ``scores`` (FP32, one
    for each class). An ONNX graph cannot refuse a request, so an item with a NaN or an
    infinity among its inputs is answered with the label ``undefined`` and NaN.

    Args:
        estimator: makes the classifier, not fitted. Scale *outside* a
            ``CalibratedClassifierCV``: skl2onnx 1.20 exports one that holds a pipeline
            wrongly, which the proof finds.
        classes: names of the classes, by the numbers that the targets are.
        data: makes a :class:`modelport.build.Split` of all rows, its inputs by tensor name.
        folds: of the cross-validation that gives the figures: each row is held out once.
            What is served is fitted on all rows.
        baselines: title to what makes a simpler classifier, measured on the same folds.
        gates: bounds that the figures of the cross-validation must meet.
        undefined: label of an item that cannot be answered.
    """

    kind: ClassVar[Kind] = "onnx"

    estimator: Callable[[], Any]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    data: Callable[..., Any]
    folds: Annotated[int, Field(ge=2)] = 10
    baselines: Mapping[str, Callable[[], Any]] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    undefined: str = "undefined"

    @model_validator(mode="after")
    def _has_its_tensors(self) -> SklearnModel:
        if any(tensor.datatype != "FP32" for tensor in self.inputs) or not self.max_batch_size:
            raise ValueError("the inputs of a scikit-learn model are FP32, and batched")
        known = {"label": ("BYTES", (1,)), "probability": ("FP32", (1,))}
        known["scores"] = ("FP32", (len(self.classes),))
        for tensor in self.outputs:
            if known.get(tensor.name) != (tensor.datatype, tensor.dims):
                raise ValueError(
                    f"no output {tensor.name!r} {tensor.datatype} {list(tensor.dims)}; there are "
                    + ", ".join(f"{n} {kind} {list(dims)}" for n, (kind, dims) in known.items())
                )
        return self

    def _config_fields(self) -> dict[str, Any]:
        return super()._config_fields() | _onnxruntime(self.serving)


def _onnxruntime(serving: Serving) -> dict[str, Any]:
    threads = {"intra_op_thread_count": str(serving.intra_op_threads)}
    return {
        "backend": "onnxruntime",
        "instance_group": (ModelInstanceGroup(count=serving.instances),),
        "parameters": threads | dict(serving.parameters),
    }


@dataclass(frozen=True, config=STRICT, kw_only=True)
class PythonModel(Model):
    """A ``model.py`` in the repository, proven against a plain function.

    The function takes named arrays (batch dimension first) and gives named arrays: what
    ``model.py`` must answer, and best the very function that it calls. Of a model that
    ``calls`` others it takes a second argument, ``call(name, inputs) -> outputs``; of a
    ``decoupled`` one it is a generator.

    Args:
        reference: the function.
        load: makes the function from the version folder, where it needs ``files``.
        files: makes the files that lie beside ``model.py``: name to content, or to a file
            that is copied. Called with one path per source.
        calls: models of the same file that ``model.py`` calls.
        decoupled: it answers each request with a stream of responses. The proof compares
            them all, joined on their first dimension.
        sequence: requests belong to sequences, which the server keeps apart. Each sample is
            one whole sequence, its arrays ``[time, ...]``; the function takes and gives such.
    """

    kind: ClassVar[Kind] = "python"

    reference: Callable[..., Any] | None = None
    load: Callable[[Path], Callable[..., Any]] | None = None
    files: Callable[..., Mapping[str, Any]] | None = None
    calls: tuple[Name, ...] = ()
    decoupled: bool = False
    sequence: ModelSequenceBatching | None = None

    @model_validator(mode="after")
    def _has_one_function(self) -> PythonModel:
        if (self.reference is None) == (self.load is None):
            raise ValueError("a Python model has either a `reference` or `load`")
        if self.sequence and (self.decoupled or self.serving.dynamic_batching):
            raise ValueError("a sequence model is neither decoupled nor dynamically batched")
        return self

    @property
    def runs(self) -> frozenset[str]:
        """Names of the models that it calls."""
        return frozenset(self.calls)

    @property
    def delivery(self) -> Delivery:
        """How its answers come."""
        return "sequence" if self.sequence else "stream" if self.decoupled else "single"

    def _config_fields(self) -> dict[str, Any]:
        fields = super()._config_fields() | {
            "backend": "python",
            "instance_group": (ModelInstanceGroup(count=self.serving.instances),),
        }
        if self.calls:
            # Triton has no field for it; `serve` loads what stands here along with the model.
            fields["parameters"] |= {CALLS_PARAMETER: " ".join(self.calls)}
        if self.decoupled:
            fields["model_transaction_policy"] = ModelTransactionPolicy(decoupled=True)
        if self.sequence:
            fields["sequence_batching"] = self.sequence
        return fields


@dataclass(frozen=True, config=STRICT)
class Step:
    """One model of an ensemble: which of its tensors is which tensor of the ensemble.

    ``inputs`` and ``outputs`` map the model's tensor names to the ensemble's.
    """

    model: Name
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @classmethod
    def same(cls, model: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Step:
        """Make a step whose tensors have the same names in the model and in the ensemble."""
        return cls(model, {t.name: t.name for t in inputs}, {t.name: t.name for t in outputs})


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Ensemble(Model):
    """A graph of other models; its reference is the graph of their references."""

    kind: ClassVar[Kind] = "ensemble"

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @classmethod
    def chain(cls, *models: Model, **fields: Any) -> Ensemble:
        """Make an ensemble that hands each model's outputs to the next one, by their names.

        Args:
            models: the first takes the ensemble's inputs, the last gives its outputs; no
                tensor has the name of another.
            fields: of the ensemble; sources, samples and the largest batch are those of the
                first model unless they are given.
        """
        first, last = models[0], models[-1]
        taken = {name: getattr(first, name) for name in ("sources", "samples", "max_batch_size")}
        taken |= {"inputs": first.inputs, "outputs": last.outputs}
        steps = tuple(Step.same(model.name, model.inputs, model.outputs) for model in models)
        return cls(**(taken | {"steps": steps} | fields))

    @property
    def runs(self) -> frozenset[str]:
        """Names of the models of its steps."""
        return frozenset(step.model for step in self.steps)

    def _config_fields(self) -> dict[str, Any]:
        steps = tuple(
            EnsembleStep(
                model_name=step.model,
                model_version=-1,
                input_map=dict(step.inputs),
                output_map=dict(step.outputs),
            )
            for step in self.steps
        )
        return super()._config_fields() | {
            "platform": "ensemble",
            "ensemble_scheduling": ModelEnsembling(step=steps),
        }
