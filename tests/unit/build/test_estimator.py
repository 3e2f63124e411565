"""scikit-learn classifiers: measured by cross-validation, and equal to their ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelport.build import loader
from modelport.build.estimator import EstimatorBuild
from modelport.errors import BuilderError, ExportError, GateError
from modelport.verify import in_process

HEAD = """\
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.calibration import CalibratedClassifierCV
from modelport.build import Split
from modelport.spec import *

def rows(classes=3):
    random = np.random.default_rng(0)
    targets = np.arange(120) % classes
    places = random.normal(scale=0.8, size=(120, 3)) + 2 * np.eye(3)[targets]
    places = places.astype(np.float32)
    return Split({"b": places[:, 1:], "a": places[:, :1]}, targets.astype(np.int64))

def model(classifier, data=rows, **more):
    return SklearnModel(
        name="tiny",
        inputs=(Tensor("a", "FP32", (1,)), Tensor("b", "FP32", (2,))),
        outputs=(Tensor("scores", "FP32", (3,)), Tensor("label", "BYTES", (1,)),
                 Tensor("probability", "FP32", (1,))),
        estimator=classifier, classes=("zoo", "apple", "mine"), data=data, folds=4, **more,
    )
"""

Make = Callable[..., EstimatorBuild]


@pytest.fixture
def make(write: Callable[..., Path]) -> Make:
    def make(text: str) -> EstimatorBuild:
        builder = loader.load(write(text, head=HEAD))
        return EstimatorBuild(builder, builder.models[0], [], lambda _: None)  # type: ignore[arg-type]

    return make


KINDS = {
    "logistic": "lambda: make_pipeline(StandardScaler(), LogisticRegression())",
    "svm": "lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False))",
    "prior": "lambda: DummyClassifier()",
}


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_the_onnx_file_answers_as_the_classifier_does(make: Make, kind: str) -> None:
    made = make(f"model = model({KINDS[kind]})")
    inputs = {name: array.copy() for name, array in made.rows.inputs.items()}
    inputs["b"][3, 1] = np.nan
    inputs["a"][4] = -np.inf
    expected = made.answer(inputs)
    got = in_process.run(in_process.session(made.onnx_file), inputs)
    assert list(got) == ["scores", "label", "probability"]
    assert np.array_equal(got["label"], expected["label"])
    assert expected["label"][3:5].tolist() == [[b"undefined"], [b"undefined"]]
    for name in ("scores", "probability"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5, equal_nan=True)
    # The names stand for the class numbers, whatever their order in the alphabet.
    right = np.array([b"zoo", b"apple", b"mine"])[made.rows.targets]
    assert np.mean(got["label"][:, 0] == right) > 0.8


def test_figures_are_of_rows_that_were_held_out(make: Make) -> None:
    """A memory of all rows is right about each row that it was fitted on, and no other."""
    made = make(
        """
        class Memory(ClassifierMixin, BaseEstimator):
            def fit(self, X, y):
                self.classes_ = np.unique(y)
                self.known = {row.tobytes(): number for row, number in zip(X, y)}
                return self
            def predict_proba(self, X):
                return np.eye(3)[[self.known.get(row.tobytes(), 0) for row in X]]
            def predict(self, X):
                return self.predict_proba(X).argmax(axis=1)

        model = model(Memory, baselines={"prior": lambda: DummyClassifier()})
        """
    )
    metrics = made.metrics
    assert metrics.count == 120
    assert metrics.split == "4-fold cross-validation"
    assert metrics.values["accuracy"] == pytest.approx(1 / 3)
    assert metrics.values["roc_auc"] == pytest.approx(0.5)
    assert metrics.baselines["prior"]["accuracy"] == pytest.approx(1 / 3)


def test_a_gate_that_is_missed_stops_the_build(make: Make) -> None:
    made = make(f"model = model({KINDS['logistic']}, gates=(Gate('accuracy', at_least=0.999),))")
    with pytest.raises(GateError, match=r"accuracy is 0\.\d+"):
        made.check_gates()


def test_targets_that_are_no_class_numbers_are_named(make: Make) -> None:
    made = make(f"model = model({KINDS['logistic']}, data=lambda: rows(classes=2))")
    with pytest.raises(BuilderError, match="targets 0 to 2"):
        _ = made.trained


def test_a_classifier_without_a_converter_is_named(make: Make) -> None:
    made = make(
        """
        class Own(LogisticRegression):
            pass

        model = model(Own)
        """
    )
    with pytest.raises(ExportError, match="tiny"):
        _ = made.trained


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('inputs=(Tensor("a", "INT64", (1,)),)', "are FP32"),
        ('outputs=(Tensor("scores", "FP32", (2,)),)', "there are label"),
        ('outputs=(Tensor("verdict", "BYTES", (1,)),)', "no output 'verdict'"),
    ],
)
def test_tensors_that_it_does_not_have_are_refused(
    write: Callable[..., Path], change: str, words: str
) -> None:
    base = """
        model = SklearnModel(**{{**dict(name="tiny", inputs=(Tensor("a", "FP32", (1,)),),
            outputs=(Tensor("label", "BYTES", (1,)),), estimator=SVC, classes=("x", "y", "z"),
            data=rows), **dict({change})}})
        """
    with pytest.raises(BuilderError, match=words):
        loader.load(write(base.format(change=change), head=HEAD))
