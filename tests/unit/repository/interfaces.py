"""Random interfaces, and what a server says of a model that has one."""

from __future__ import annotations

from hypothesis import strategies as st

from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.repository.interface import Interface, TensorInterface

NUMBERS = ("BOOL", "UINT8", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16")
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40)
NAMES = st.one_of(
    st.text("abcxyz_-. 09é日\"'\\", min_size=1, max_size=12),
    st.sampled_from(
        [
            "class",
            "self",
            "items",
            "timeout_s",
            "str",
            "None",
            "model",
            "url",
            "json",
            "item",
            "row",
            "rows",
            "asked",
        ]
    ),
)
DIMS = st.lists(st.sampled_from([-1, 1, 2, 10]), max_size=3).map(tuple)


@st.composite
def tensors(draw: st.DrawFn, name: str, *, output: bool) -> TensorInterface:
    datatype = draw(st.sampled_from([*NUMBERS, "BYTES", "BYTES"]))
    dims = draw(DIMS)
    fields: dict[str, object] = {"doc": draw(WORDS), "unit": draw(st.sampled_from(["", "ms"]))}
    if datatype == "BYTES":
        fields["content"] = draw(st.sampled_from(["", "text", "image", "json", "file"]))
        if fields["content"] == "text" and draw(st.booleans()):
            fields["values"] = tuple(draw(st.lists(WORDS, min_size=1, max_size=4, unique=True)))
    elif datatype != "BOOL":
        fields["minimum"] = draw(st.sampled_from([None, 0.0, 1.0]))
        fields["maximum"] = draw(st.sampled_from([None, 1.0, 100.0]))
    if output and dims and dims[-1] > 0 and draw(st.booleans()):
        fields["labels"] = tuple(f"{index} {draw(WORDS)}" for index in range(dims[-1]))
    if not output:
        fields["optional"] = draw(st.booleans())
    return TensorInterface(name=name, datatype=datatype, dims=dims, **fields)  # type: ignore[arg-type]


@st.composite
def interfaces(draw: st.DrawFn, model: st.SearchStrategy[str] = NAMES) -> Interface:
    def side(*, output: bool) -> tuple[TensorInterface, ...]:
        names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
        return tuple(draw(tensors(name, output=output)) for name in names)

    return Interface(
        model=draw(model),
        described=True,
        doc=draw(WORDS),
        limits=tuple(draw(st.lists(WORDS, max_size=2))),
        max_batch_size=draw(st.sampled_from([0, 1, 64])),
        decoupled=draw(st.booleans()),
        stateful=draw(st.booleans()),
        inputs=side(output=False),
        outputs=side(output=True),
    )


def served(interface: Interface) -> ModelMetadata:
    """What a server says of the model."""
    batch = (-1,) if interface.batching else ()

    def side(tensors: tuple[TensorInterface, ...]) -> tuple[TensorMetadata, ...]:
        return tuple(
            TensorMetadata(one.name, one.datatype, (*batch, *one.dims), one.optional)
            for one in tensors
        )

    return ModelMetadata(
        name=interface.model,
        versions=("1",),
        platform="",
        inputs=side(interface.inputs),
        outputs=side(interface.outputs),
        max_batch_size=interface.max_batch_size,
        decoupled=interface.decoupled,
    )
