"""What breaks callers: each row of the table, and two laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from interfaces import interfaces, served

from modelport.client.typed import Model, Tensor
from modelport.errors import InterfaceMismatchError
from modelport.repository.compatibility import between, between_all
from modelport.repository.interface import Interface, TensorInterface

TEXT = TensorInterface(name="text", datatype="BYTES", dims=(1,), content="text", values=("a", "b"))
SIZE = TensorInterface(
    name="size", datatype="FP32", dims=(-1, 3), optional=True, minimum=0, maximum=9, unit="cm"
)
LABEL = TensorInterface(name="label", datatype="BYTES", dims=(1,), values=("yes", "no"))
SCORES = TensorInterface(
    name="scores", datatype="FP32", dims=(2,), labels=("yes", "no"), minimum=0, maximum=1
)
OLD = Interface(
    model="m", described=True, max_batch_size=8, inputs=(TEXT, SIZE), outputs=(LABEL, SCORES)
)


def with_input(place: int, **update: Any) -> Interface:
    inputs = list(OLD.inputs)
    inputs[place] = inputs[place].model_copy(update=update)
    return OLD.model_copy(update={"inputs": tuple(inputs)})


def with_output(place: int, **update: Any) -> Interface:
    outputs = list(OLD.outputs)
    outputs[place] = outputs[place].model_copy(update=update)
    return OLD.model_copy(update={"outputs": tuple(outputs)})


def whole(**update: Any) -> Interface:
    return OLD.model_copy(update=update)


NEW = TensorInterface(name="new", datatype="INT32", dims=(1,))

BREAKING = {
    "input 'text' is gone": whole(inputs=(SIZE,)),
    "input 'text' is gone; 'txt' is alike: renamed?": with_input(0, name="txt"),
    "input 'new' is new and required": whole(inputs=(TEXT, SIZE, NEW)),
    "input 'size' is required now": with_input(1, optional=False),
    "input 'size' is FP64, it was FP32": with_input(1, datatype="FP64"),
    "input 'size' has the shape [5, 3], it had [-1, 3]": with_input(1, dims=(5, 3)),
    "input 'size' has the shape [3], it had [-1, 3]": with_input(1, dims=(3,)),
    "input 'size' is from 1 to 9, it was from 0 to 9": with_input(1, minimum=1),
    "input 'size' has the unit 'mm', it had 'cm'": with_input(1, unit="mm"),
    "input 'text' is one of 'a', it was one of 'a', 'b'": with_input(0, values=("a",)),
    "input 'text' has the content 'json', it had 'text'": with_input(0, content="json"),
    "output 'scores' is gone": whole(outputs=(LABEL,)),
    "output 'scores' has the shape [-1], it had [2]": with_output(1, dims=(-1,)),
    "output 'scores' is from 0 to 100, it was from 0 to 1": with_output(1, maximum=100),
    "output 'scores' has no labels any more": with_output(1, labels=()),
    "output 'scores' has its labels in another order: 'no', 'yes'": with_output(
        1, labels=("no", "yes")
    ),
    "output 'label' is one of 'yes', 'no', 'maybe', it was one of 'yes', 'no'": with_output(
        0, values=("yes", "no", "maybe")
    ),
    "output 'label' is any text, it was one of 'yes', 'no'": with_output(0, values=()),
    "output 'scores' has the labels 'yes', 'no', 'maybe', it had 'yes', 'no'": with_output(
        1, labels=("yes", "no", "maybe")
    ),
    "is another model than 'm'": whole(model="m2"),
    "takes no batches any more: tensors have other shapes": whole(max_batch_size=0),
    "takes batches of 4, it took 8": whole(max_batch_size=4),
    "answers with a stream, no longer with one answer": whole(decoupled=True),
    "keeps sequences now": whole(stateful=True),
}
FITTING = {
    "input 'new' is new": whole(inputs=(TEXT, SIZE, NEW.model_copy(update={"optional": True}))),
    "input 'text' is optional now": with_input(0, optional=True),
    "input 'size' has the shape [-1, -1], it had [-1, 3]": with_input(1, dims=(-1, -1)),
    "input 'size' is 9 or less, it was from 0 to 9": with_input(1, minimum=None),
    "input 'text' is any text, it was one of 'a', 'b'": with_input(0, values=()),
    "input 'text' is described in other words": with_input(0, doc="what to say"),
    "output 'new' is new": whole(outputs=(LABEL, SCORES, NEW)),
    "output 'scores' is from 0.5 to 1, it was from 0 to 1": with_output(1, minimum=0.5),
    "output 'label' is one of 'yes', it was one of 'yes', 'no'": with_output(0, values=("yes",)),
    "output 'label' has labels now": with_output(0, labels=("x",)),
    "takes batches of 64, it took 8": whole(max_batch_size=64),
    "is described in other words": whole(doc="Reads."),
}


@pytest.mark.parametrize("what", BREAKING)
def test_what_breaks(what: str) -> None:
    found = between(OLD, BREAKING[what])
    assert what in [str(change).partition(": ")[2] for change in found if change.breaking]


@pytest.mark.parametrize("what", FITTING)
def test_what_fits(what: str) -> None:
    assert [str(change) for change in between(OLD, FITTING[what])] == [f"m: {what}"]
    assert not any(change.breaking for change in between(OLD, FITTING[what]))


@pytest.mark.parametrize("side", [with_input, with_output])
def test_what_is_said_for_the_first_time_changes_no_model(side: Callable[..., Interface]) -> None:
    nothing: dict[str, Any] = {"minimum": None, "maximum": None, "values": ()}
    for place, said in ((1, {"minimum": 0.0, "maximum": 1.0}), (0, {"values": ("a",)})):
        [change] = between(side(place, **nothing), side(place, **{**nothing, **said}))
        assert "is said to be" in str(change)
        assert not change.breaking


def test_meaning_counts_where_both_say_it() -> None:
    silent = with_input(1, unit="", minimum=None, maximum=None).model_copy(
        update={"described": False}
    )
    assert between(OLD, silent) == between(silent, OLD) == []


def test_repositories() -> None:
    other = OLD.model_copy(update={"model": "other"})
    found = between_all([OLD, other], [whole(max_batch_size=4), whole(model="new")])
    assert [(change.model, change.breaking) for change in found] == [
        ("m", True),
        ("new", False),
        ("other", True),
    ]


@given(interfaces())
def test_nothing_changes_without_a_change(one: Interface) -> None:
    assert between(one, one.model_copy(update={"version": 7})) == []


def as_wrapper(interface: Interface) -> Model:
    def side(tensors: tuple[TensorInterface, ...]) -> tuple[Tensor, ...]:
        return tuple(Tensor(one.name, one.datatype, one.dims, one.optional) for one in tensors)

    return Model(
        name=interface.model,
        inputs=side(interface.inputs),
        outputs=side(interface.outputs),
        max_batch_size=interface.max_batch_size,
        decoupled=interface.decoupled,
    )


@pytest.mark.parametrize("what", FITTING)
def test_a_wrapper_takes_what_does_not_break_it(what: str) -> None:
    """What `schema check` lets pass, no generated wrapper refuses when it meets the server."""
    as_wrapper(OLD).check(served(FITTING[what]), "test")


@pytest.mark.parametrize(
    "what", [what for what in BREAKING if "gone" in what or "shape" in what or "FP64" in what]
)
def test_a_wrapper_refuses_other_tensors(what: str) -> None:
    with pytest.raises(InterfaceMismatchError, match="was made for"):
        as_wrapper(OLD).check(served(BREAKING[what]), "test")
