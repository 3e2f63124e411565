"""The steps that only a scikit-learn classifier takes: cross-validate, fit, export, parity."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import evaluation, provenance, steps
from modelport.build.dataset import Arrays, Split
from modelport.build.network import NetworkBuild
from modelport.build.steps import Done
from modelport.errors import BuilderError, DataError, ExportError
from modelport.repository.manifest import Metrics
from modelport.spec.model import SklearnModel

# The newest that skl2onnx 1.20 converts an SVM and a calibration to, and ONNX Runtime 1.19 runs.
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_ONNX = "model.onnx"
# Of every name in the converted graph, so that none is a declared tensor's.
_PREFIX = "fitted_"
_FITTED_BY = ("estimator", "classes", "data", "sources", "inputs")


class EstimatorBuild(NetworkBuild):
    """One scikit-learn model on its way to a proven ONNX file, by the steps of a network.

    Nothing is pickled: fitting is deterministic, so that the classifier which the proof
    needs is fitted anew from the data, and what is kept is the ONNX file.
    """

    model: SklearnModel  # type: ignore[assignment]
    reference = "scikit-learn"

    @cached_property
    def rows(self) -> Split:
        """All rows of the data; raises :class:`~modelport.errors.DataError`."""
        mend = "mend the function, or the file that it reads"
        with self.builder.blamed(self.model, "`data`", mend, as_error=DataError):
            rows = self.model.data(*(file.path for file in self.fetched))
        if not isinstance(rows, Split):
            raise self._wrong("data", f"a modelport.build.Split, got {type(rows).__name__}")
        missing = [t.name for t in self.model.inputs if t.name not in rows.inputs]
        if missing:
            raise self._wrong("data", f"inputs named as the model's are; {missing[0]!r} is missing")
        return rows

    @cached_property
    def trained(self) -> Done:
        """The step that fits the classifier on all rows and leaves it as ONNX."""
        done = steps.run("train", self._fit_key(*_FITTED_BY), self._train)
        self._report("train", f"fitted on {done.facts()['rows']} rows", done)
        return done

    @cached_property
    def network(self) -> Any:
        """The fitted classifier."""
        mend = "mend the function that makes the classifier, or the data"
        with self.builder.blamed(self.model, "`estimator`", mend):
            return self.model.estimator().fit(self._matrix(self.rows.inputs), self.rows.targets)

    @cached_property
    def metrics(self) -> Metrics:
        """Figures of the cross-validation."""
        inputs = self._fit_key(*_FITTED_BY, "folds", "baselines")
        inputs["evaluation"] = provenance.library("build/evaluation.py")
        done = steps.run("evaluate", inputs, lambda _: self._evaluate())
        split = f"{self.model.folds}-fold cross-validation"
        return self._evaluated(done, split=split, items="held-out rows")

    @property
    def slimmed(self) -> Done:
        """The step that leaves the ONNX file which serves: fitting does; nothing is to slim."""
        return self.trained

    def answer(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Answer a batch as scikit-learn does, and what it refuses as the declaration says."""
        matrix = self._matrix(inputs)
        finite = np.isfinite(matrix).all(axis=1)
        labels = np.full((len(matrix), 1), self.model.undefined.encode(), dtype=np.object_)
        scores = np.full((len(matrix), len(self.model.classes)), np.nan, dtype=np.float32)
        probability = np.full((len(matrix), 1), np.nan, dtype=np.float32)
        if finite.any():
            chosen = self.network.predict(matrix[finite])
            scores[finite] = self.network.predict_proba(matrix[finite])
            names = np.array([name.encode() for name in self.model.classes], dtype=np.object_)
            labels[finite, 0] = names[chosen]
            probability[finite, 0] = scores[finite][np.arange(len(chosen)), chosen]
        return {"label": labels, "probability": probability, "scores": scores}

    def _fit_key(self, *fields: str) -> dict[str, Any]:
        return {
            "builder": self.builder.fingerprint(self.model, *fields),
            "model": self.model.name,
            "data": [file.entry.sha256 for file in self.fetched],
            "library": [self.builder.library, provenance.library("build/estimator.py")],
            "versions": {name: metadata.version(name) for name in ("scikit-learn", "skl2onnx")},
        }

    def _train(self, folder: Path) -> Mapping[str, object]:
        classes = list(self.network.classes_)
        if classes != list(range(len(self.model.classes))):
            declared = f"targets 0 to {len(self.model.classes) - 1}, as there are classes"
            raise self._wrong("data", f"{declared}; got {classes}")
        try:
            graph = _onnx(self.network, self.model)
        except Exception as error:  # skl2onnx's exceptions share no base class
            raise ExportError(
                f"model {self.model.name!r} does not export to ONNX: {type(error).__name__}:"
                f" {error}",
                cause="skl2onnx has no converter for a part of this classifier",
                next_step="see `skl2onnx.supported_converters()` for those that it has",
                model=self.model.name,
            ) from error
        (folder / _ONNX).write_bytes(graph.SerializeToString())
        return {"rows": len(self.rows)}

    def _evaluate(self) -> Mapping[str, object]:
        return {
            "count": len(self.rows),
            "values": self._cross_validated(self.model.estimator),
            "baselines": {
                title: self._cross_validated(make) for title, make in self.model.baselines.items()
            },
        }

    def _cross_validated(self, make: Callable[[], Any]) -> dict[str, float]:
        """Measure answers to rows, each given by a classifier that was fitted without the row."""
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        folds = StratifiedKFold(self.model.folds, shuffle=True, random_state=0)
        matrix, targets = self._matrix(self.rows.inputs), self.rows.targets
        with self.builder.blamed(self.model, "evaluation", "mend the data or the classifier"):
            scores = cross_val_predict(make(), matrix, targets, cv=folds, method="predict_proba")
            values = evaluation.classification(scores, targets)
            two = scores[:, 1] if len(self.model.classes) == 2 else scores
            auc = roc_auc_score(targets, two, multi_class="ovr")
        return {name: float(value) for name, value in values.items()} | {"roc_auc": float(auc)}

    def _matrix(self, inputs: Arrays) -> np.ndarray:
        """Join the columns in their declared order: float32[batch, columns]."""
        columns = [np.asarray(inputs[t.name], np.float32) for t in self.model.inputs]
        return np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)

    def _wrong(self, field: str, expected: str) -> BuilderError:
        return BuilderError(
            f"{self.builder.path}: model {self.model.name!r}: field {field!r}: expected {expected}",
            model=self.model.name,
            field=field,
        )


def _onnx(fitted: Any, model: SklearnModel) -> Any:
    """Convert a classifier that answers with class numbers; the graph answers with names."""
    import onnx.compose
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    width = sum(int(np.prod(tensor.dims)) for tensor in model.inputs)
    with warnings.catch_warnings():
        # The converter reads attributes that scikit-learn will drop in 1.11.
        warnings.simplefilter("ignore", FutureWarning)
        core = to_onnx(
            fitted,
            initial_types=[("columns", FloatTensorType([None, width]))],
            options={"zipmap": False},
            target_opset=_OPSETS,
        )
    return _with_names(onnx.compose.add_prefix(core, _PREFIX), model)


def _with_names(core: Any, model: SklearnModel) -> Any:
    """Put the declared tensors around the converted graph.

    Before it: the named columns, joined. After it: class numbers to names, the probability
    of the named class, and the items that are not numbers set apart.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    columns = core.graph.input[0].name
    label, scores = (output.name for output in core.graph.output)
    constants = {
        "class_names": np.array(model.classes, dtype=np.object_),
        "undefined_name": np.array(model.undefined, dtype=np.object_),
        "undefined_score": np.array(np.nan, np.float32),
        "last_axis": np.array([1], np.int64),
    }
    node = helper.make_node
    before = [
        node("Flatten", [tensor.name], [f"{tensor.name}_flat"], axis=1) for tensor in model.inputs
    ]
    before.append(node("Concat", [f"{t.name}_flat" for t in model.inputs], [columns], axis=1))
    after = [
        # A number less itself is 0; of NaN and of an infinity it is NaN, which the sum keeps.
        node("Sub", [columns, columns], ["columns_zero"]),
        node("ReduceSum", ["columns_zero", "last_axis"], ["row_zero"], keepdims=1),
        node("IsNaN", ["row_zero"], ["row_undefined"]),
        node("Unsqueeze", [label, "last_axis"], ["class_number"]),
        node("Gather", ["class_names", "class_number"], ["class_name"]),
        node("GatherElements", [scores, "class_number"], ["class_score"], axis=1),
        node("Where", ["row_undefined", "undefined_name", "class_name"], ["label"]),
        node("Where", ["row_undefined", "undefined_score", "class_score"], ["probability"]),
        node("Where", ["row_undefined", "undefined_score", scores], ["scores"]),
    ]
    types = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, types[t.datatype], ["batch", *t.dims]) for t in side]
        for side in (model.inputs, model.outputs)
    )
    values = [*core.graph.initializer]
    values += [numpy_helper.from_array(array, name) for name, array in constants.items()]
    nodes = [*before, *core.graph.node, *after]
    graph = helper.make_graph(nodes, model.name, inputs, outputs, values)
    made = helper.make_model(graph, opset_imports=list(core.opset_import))
    made.ir_version = core.ir_version
    onnx.checker.check_model(made, full_check=True)
    return made
