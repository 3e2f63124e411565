"""Variants and budgets as builders declare them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelport import spec
from modelport.spec.precision import COSINE

X = spec.Tensor("x", "FP32", (3,))
FINITE = st.floats(-1e3, 1e3)


def network(**fields: object) -> spec.TorchModel:
    return spec.TorchModel(name="n", inputs=(X,), outputs=(X,), network=object, **fields)


def test_a_word_stands_for_a_variant_as_most_want_it() -> None:
    declared = network(
        data=object, training=spec.Training(), variants=("int8", spec.Pruned(share=0.5))
    )
    assert declared.variants == (spec.Int8(), spec.Pruned(share=0.5))
    assert [variant.name for variant in declared.variants] == ["int8", "pruned"]


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        (("int9",), "no variant 'int9'; there are int8, int8-dynamic"),
        (("fp16", spec.Fp16(keep=("Softmax",))), "variants named more than once: fp16"),
        (("int8",), "int8 needs `data` to calibrate it on"),
        (("pruned",), "pruned needs `training`"),
    ],
)
def test_what_cannot_be_made_is_refused(variants: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        network(variants=variants)


@pytest.mark.parametrize(
    "fields",
    [{}, {"drop": 0.1, "rise": 0.1}, {"drop": -0.1}],
)
def test_a_budget_has_one_bound(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        spec.Budget("accuracy", **fields)


def test_a_cosine_is_bounded_by_itself() -> None:
    with pytest.raises(ValidationError, match="takes at_least"):
        spec.Budget(COSINE, drop=0.1)


@given(FINITE, FINITE, st.floats(0, 10))
def test_drop_and_rise_mirror_each_other(before: float, after: float, most: float) -> None:
    falls = spec.Budget("m", drop=most).holds(before, after)
    assert falls == spec.Budget("m", rise=most).holds(-before, -after)
    assert falls or before > after


def test_differences_that_binary_has_not_are_no_loss() -> None:
    assert spec.Budget("accuracy", drop=0.005).holds(0.983, 0.978)
    assert not spec.Budget("accuracy", drop=0.005).holds(0.983, 0.977)


@pytest.mark.parametrize(
    "budget",
    [spec.Budget("m", drop=1), spec.Budget("m", rise=1), spec.Budget("m", at_least=0)],
)
def test_nan_keeps_no_budget(budget: spec.Budget) -> None:
    assert not budget.holds(1.0, math.nan)
