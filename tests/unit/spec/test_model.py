"""What a declaration says of itself, and which ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from modelport.spec import (
    Ensemble,
    Gate,
    ModelDynamicBatching,
    ModelSequenceBatching,
    PythonModel,
    Serving,
    Step,
    Tensor,
    TorchModel,
)

X, Y, Z = (Tensor(name, "FP32", (size,)) for name, size in (("x", 2), ("y", 3), ("z", 4)))


def python(**fields: object) -> PythonModel:
    return PythonModel(name="p", inputs=(X,), outputs=(Y,), **fields)  # type: ignore[arg-type]


def torch(**fields: object) -> TorchModel:
    return TorchModel(name="t", inputs=(X,), outputs=(Y,), **fields)  # type: ignore[arg-type]


def test_a_step_of_the_same_names() -> None:
    assert Step.same("m", (X, Y), (Y,)) == Step("m", {"x": "x", "y": "y"}, {"y": "y"})


def test_a_chain_hands_on_by_name() -> None:
    first = PythonModel(
        name="a", inputs=(X,), outputs=(Y,), reference=dict, samples=list, max_batch_size=4
    )
    last = PythonModel(name="b", inputs=(Y,), outputs=(Z,), reference=dict)
    whole = Ensemble.chain(first, last, name="e", limits=("none",))
    assert (whole.inputs, whole.outputs) == ((X,), (Z,))
    assert whole.steps == (Step("a", {"x": "x"}, {"y": "y"}), Step("b", {"y": "y"}, {"z": "z"}))
    assert (whole.samples, whole.max_batch_size, whole.limits) == (list, 4, ("none",))
    assert Ensemble.chain(first, last, name="e", max_batch_size=2).max_batch_size == 2


def test_what_a_model_runs() -> None:
    whole = Ensemble(name="e", inputs=(X,), outputs=(Y,), steps=(Step.same("a", (X,), (Y,)),))
    assert whole.runs == {"a"}
    assert python(reference=dict, calls=("b", "c")).runs == {"b", "c"}
    assert torch(weights_of="other").runs == set(), "its weights are taken when it is built"


def test_how_answers_come_stands_in_the_configuration() -> None:
    stream = python(reference=dict, decoupled=True)
    policy = stream.config().model_transaction_policy
    assert stream.delivery == "stream"
    assert policy is not None
    assert policy.decoupled
    remembers = python(reference=dict, sequence=ModelSequenceBatching())
    assert remembers.delivery == "sequence"
    assert remembers.config().sequence_batching == ModelSequenceBatching()
    assert python(reference=dict).delivery == "single"


def test_calls_stand_in_the_configuration_for_serve() -> None:
    assert python(reference=dict, calls=("a", "b")).config().parameters == {"calls": "a b"}


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: python(), "either a `reference` or `load`"),
        (lambda: python(reference=dict, load=print), "either a `reference` or `load`"),
        (
            lambda: python(reference=dict, decoupled=True, sequence=ModelSequenceBatching()),
            "neither decoupled nor dynamically batched",
        ),
        (
            lambda: python(
                reference=dict,
                sequence=ModelSequenceBatching(),
                serving=Serving(dynamic_batching=ModelDynamicBatching()),
            ),
            "neither decoupled nor dynamically batched",
        ),
        (lambda: torch(), "either a `network` or `weights_of`"),
        (lambda: torch(network=print, gates=(Gate("f1", at_least=1),)), "need `data`"),
        (lambda: torch(network=print, baselines={"none": dict}), "need `data`"),
        (lambda: torch(weights_of="o", data=print), "from the other model"),
        (
            lambda: torch(network=print, data=print, evaluate=dict, measure=dict),
            "from `evaluate` or from `measure`",
        ),
    ],
)
def test_what_contradicts_itself(declare: Callable[[], object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        declare()
