"""What a tensor means, and which meanings are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelport.spec import PROBABILITY, PythonModel, Tensor, described

TEXT = Tensor("text", "BYTES", (1,))
SHARE = Tensor("share", "FP32", (2,), doc="of the label")


def test_tensors_of_others_are_described() -> None:
    text, share = described((TEXT, SHARE), text=("yes", "no"), share=PROBABILITY)
    assert (text.content, text.values) == ("text", ("yes", "no"))
    assert (share.minimum, share.maximum, share.doc) == (0.0, 1.0, "of the label")
    assert described((TEXT,), text="image")[0].content == "image"
    with pytest.raises(ValueError, match="there is no tensor 'txt'"):
        described((TEXT,), txt="text")


def test_meaning_is_no_part_of_how_a_tensor_is_shown() -> None:
    """The keys of exported networks hold that."""
    assert repr(described((SHARE,), share=PROBABILITY)) == repr((SHARE,))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"datatype": "FP32", "content": "text"}, "only BYTES have content"),
        ({"datatype": "INT32", "values": ("a",)}, "only BYTES have content"),
        ({"datatype": "BYTES", "minimum": 1}, "no minimum or maximum"),
        ({"datatype": "BOOL", "maximum": 1}, "no minimum or maximum"),
        ({"datatype": "FP32", "minimum": 2, "maximum": 1}, "minimum 2 above 1"),
        ({"datatype": "BYTES", "content": "picture"}, "Input should be"),
        ({"datatype": "FP32", "instead_of": "y"}, "so it is optional"),
    ],
)
def test_no_meaning(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Tensor("x", dims=(1,), **fields)  # type: ignore[arg-type]


def test_alternatives_are_inputs() -> None:
    pixels = Tensor("pixels", "UINT8", (-1, -1), optional=True, instead_of="image")
    with pytest.raises(ValidationError, match="no optional input 'image'"):
        PythonModel(name="p", inputs=(TEXT, pixels), outputs=(SHARE,), reference=dict)
