from __future__ import annotations

import re

import pytest

from modelport.client.binding import bind
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.tensors import prepare
from modelport.errors import InvalidInputError

TEXT = TensorMetadata("text", "BYTES", (-1, 1))
LENGTH = TensorMetadata("length", "INT32", (-1, 1))
LIMIT = TensorMetadata("limit", "INT32", (-1, 1), optional=True)


def model(*inputs: TensorMetadata) -> ModelMetadata:
    return ModelMetadata("m", ("1",), "", inputs, (), 8)


def test_one_value_is_that_of_the_only_input() -> None:
    assert bind(model(TEXT), ("a",)) == {"text": "a"}
    assert bind(model(TEXT, LIMIT), (["a", "b"],)) == {"text": ["a", "b"]}
    assert bind(model(TEXT, LIMIT), ("a",), {"limit": 3}) == {"text": "a", "limit": 3}
    assert bind(model(LIMIT), (3,)) == {"limit": 3}
    assert [t.array.tolist() for t in prepare(model(TEXT), "a")] == [[[b"a"]]]


def test_inputs_by_name() -> None:
    both = {"text": "a", "length": 3}
    assert bind(model(TEXT, LENGTH), (), both) == both
    assert bind(model(TEXT, LENGTH), (both,)) == both
    assert bind(model(TEXT, LENGTH), ({"text": "a"},), {"length": 3}) == both
    assert bind(model(TEXT)) == {}


@pytest.mark.parametrize(
    ("inputs", "args", "kwargs", "said"),
    [
        ((TEXT, LENGTH), ("a",), {}, "a str was given without its name"),
        ((LIMIT, LIMIT), (1,), {}, "an int was given without its name"),
        ((TEXT, LENGTH), ("a", 3), {}, "2 inputs were given without their names"),
        ((TEXT,), ("a",), {"text": "b"}, "input 'text' was given twice"),
        ((), ("a",), {}, "a str was given without its name; 'm' takes no inputs"),
    ],
)
def test_what_is_open_is_refused(
    inputs: tuple[TensorMetadata, ...], args: tuple[object, ...], kwargs: dict, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        bind(model(*inputs), args, kwargs)


def test_the_refusal_shows_how_it_is_written() -> None:
    with pytest.raises(InvalidInputError) as caught:
        bind(model(TEXT, LENGTH), ("a",))
    assert str(caught.value) == (
        "a str was given without its name; 'm' takes 'text' (BYTES [-1, 1]),"
        " 'length' (INT32 [-1, 1])\n"
        "next: give each by its name: {'text': …, 'length': …}"
    )
