"""BadItemError: words for the sender. answer_each runs inside Triton: see tests/server/build."""

from __future__ import annotations

from modelport.serving import python_model
from modelport.serving.python_model import BadItemError


def test_an_item_is_named_by_its_place_in_the_batch() -> None:
    assert str(BadItemError("no image", item=3)) == "item 3: no image"
    assert str(BadItemError("no image", item=0)) == "item 0: no image"
    assert str(BadItemError("no image")) == "no image"


def test_it_is_a_value_error_so_that_plain_python_can_catch_it() -> None:
    assert issubclass(BadItemError, ValueError)


def test_a_callee_s_failure_is_told_and_a_model_s_own_is_not() -> None:
    callee = python_model.CallError("model 'encoder' did not answer: it is not ready")
    assert python_model.internal_error(callee) == str(callee)
    own = python_model.internal_error(ValueError("a secret of the user"))
    assert own == "ValueError in the model's code"
