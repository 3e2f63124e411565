"""What tensors are in Python: the type of a parameter or a field, and how it is converted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from modelport.codegen import python_names as names
from modelport.codegen.python_layout import Bracketed, Node, plain, quoted
from modelport.repository.interface import Interface, TensorInterface, bounds

# A choice among more is no help in an editor.
_MOST_VALUES = 50
_ANY_SIZE = -1
_RANGE = re.compile(r"\d to -?\d")
_NUMPY = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BOOL": "bool_"}
_FILES = "bytes | str | Path"


@dataclass(frozen=True)
class Parameter:
    """One argument of a wrapper's methods.

    Attributes:
        name: in Python.
        tensor: that it is sent as.
        annotation: its type, without ``None`` for one that may be left out.
        required: it must be given.
        pixels: the tensor that an array is sent as instead.
    """

    name: str
    tensor: TensorInterface
    annotation: str
    required: bool
    pixels: TensorInterface | None = None

    def declared(self) -> str:
        """Give it as it stands in a signature, or as a field."""
        if self.required:
            return f"{self.name}: {self.annotation}"
        return f"{self.name}: {self.annotation} | None = None"

    @property
    def doc(self) -> str:
        """Say what it is."""
        if self.pixels is None:
            return described(self.name, self.tensor)
        kind = "an image file" if self.tensor.content == "image" else "a file"
        words = f" ({plain(self.pixels.doc)})" if self.pixels.doc else ""
        array = f"an array {shape(self.pixels)}{words}"
        return f"{self.name}: the path of {kind}, its content as bytes, or {array}."

    def sent(self, given: str) -> str:
        """Give the expression that is sent for what was given.

        Args:
            given: the expression that has it.
        """
        makes = {"image": "typed.content", "file": "typed.content", "json": "typed.document"}
        made = makes.get(self.tensor.content) if self.tensor.scalar else None
        if made is None:
            return given
        call = f"{made}({given})"
        return call if self.required else f"None if {given} is None else {call}"


@dataclass(frozen=True)
class Result:
    """One field of a wrapper's result.

    Attributes:
        name: in Python.
        tensor: that it is read from.
        annotation: its type.
        labels: name of the constant that has the classes along it; empty without any.
    """

    name: str
    tensor: TensorInterface
    annotation: str
    labels: str = ""

    @property
    def doc(self) -> str:
        """Say what it is."""
        return described(self.name, self.tensor, self.labels)

    @property
    def value(self) -> str:
        """Give the expression that reads it from an answer."""
        return f"row.{_reader(self.tensor)}({quoted(self.tensor.name)})"


@dataclass(frozen=True)
class Types:
    """All that a model's tensors are in Python.

    Attributes:
        parameters: of its methods: those that must be given first.
        results: fields of what it answers.
        aliases: names of types to what they stand for.
        labels: names of constants to the classes along an output.
    """

    parameters: tuple[Parameter, ...]
    results: tuple[Result, ...]
    aliases: dict[str, Node] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def subject(self) -> Parameter | None:
        """The one parameter that must be given; ``None`` where there are more of them, or none."""
        required = [one for one in self.parameters if one.required]
        return required[0] if len(required) == 1 else None


def of(interface: Interface, taken: set[str]) -> Types:
    """Choose the types for an interface.

    Args:
        interface: of the model.
        taken: names of classes that an alias must not have.
    """
    aliases: dict[str, Node] = {}
    pixels = dict(_pixels(interface))
    alone = [t for t in interface.inputs if t not in pixels.values()]
    # Alternatives share a parameter, which then has to be given.
    inputs = names.parameters(tensor.name for tensor in alone)
    outputs = names.fields(tensor.name for tensor in interface.outputs)
    parameters = tuple(
        _parameter(tensor, inputs[tensor.name], pixels.get(tensor.name), aliases, taken)
        for tensor in alone
    )
    constants = names.constants(t.name for t in interface.outputs if t.labels)
    results = tuple(
        Result(
            outputs[t.name], t, _annotation_of_result(t, aliases, taken), constants.get(t.name, "")
        )
        for t in interface.outputs
    )
    labels = {constants[t.name]: t.labels for t in interface.outputs if t.labels}
    ordered = sorted(parameters, key=lambda one: not one.required)
    return Types(tuple(ordered), results, aliases, labels)


def shape(tensor: TensorInterface) -> str:
    """Show a tensor's type and shape, such as ``float32[any, 4]``."""
    sizes = ", ".join("any" if size == _ANY_SIZE else str(size) for size in tensor.dims)
    return f"{tensor.datatype.lower().replace('fp', 'float')}[{sizes}]"


def described(name: str, tensor: TensorInterface, labels: str = "") -> str:
    """Say in one sentence what a tensor holds: its builder's words, its range, unit and shape.

    Args:
        name: in Python.
        tensor: that is described.
        labels: name of the constant that has its classes.
    """
    facts = [plain(tensor.doc), _range(tensor)]
    if tensor.unit:
        facts.append(f"in {plain(tensor.unit)}")
    if tensor.datatype != "BYTES" and not tensor.scalar:
        facts.append(shape(tensor))
    if labels:
        facts.append(f"in the order of {labels}")
    if tensor.content == "json":
        facts.append("as JSON")
    said = "; ".join(fact for fact in facts if fact)
    return f"{name}: {said or shape(tensor)}."


def _range(tensor: TensorInterface) -> str:
    if _RANGE.search(tensor.doc):
        return ""  # said in the builder's own words
    return bounds(tensor.minimum, tensor.maximum)


def _pixels(interface: Interface) -> Iterator[tuple[str, TensorInterface]]:
    """Find inputs that can be told from what they stand in for: an array, and no file."""
    by_name = {tensor.name: tensor for tensor in interface.inputs}
    for name, tensor in by_name.items():
        others = [t for t in interface.inputs if t.instead_of == name]
        file = tensor.scalar and tensor.content in ("image", "file")
        if file and len(others) == 1 and others[0].datatype != "BYTES" and not others[0].scalar:
            yield name, others[0]


def _parameter(
    tensor: TensorInterface,
    name: str,
    pixels: TensorInterface | None,
    aliases: dict[str, Node],
    taken: set[str],
) -> Parameter:
    if pixels is None:
        annotation = _annotation_of_parameter(tensor, aliases, taken)
        return Parameter(name, tensor, annotation, not tensor.optional)
    alias = names.class_name(tensor.name, {*taken, *aliases})
    aliases[alias] = quoted(f"{_FILES} | {_array(pixels)}")
    return Parameter(name, tensor, alias, True, pixels)


def _annotation_of_parameter(
    tensor: TensorInterface, aliases: dict[str, Node], taken: set[str]
) -> str:
    if tensor.datatype != "BYTES":
        return _number(tensor) if tensor.scalar else "npt.ArrayLike"
    if tensor.content in ("image", "file"):
        one = _FILES if tensor.scalar else "bytes"
    elif tensor.content == "json":
        one = "Any" if tensor.scalar else "str"
    else:
        one = _choice(tensor, aliases, taken) or ("str" if tensor.content else "str | bytes")
    if tensor.scalar:
        return one
    return f"Sequence[{one}]" if len(tensor.dims) == 1 else "npt.ArrayLike"


def _annotation_of_result(
    tensor: TensorInterface, aliases: dict[str, Node], taken: set[str]
) -> str:
    if tensor.datatype != "BYTES":
        return _number(tensor) if tensor.scalar else _array(tensor)
    if tensor.scalar and tensor.content == "json":
        return "Any"
    texts = tensor.content in ("text", "json")
    one = (_choice(tensor, aliases, taken) or "str") if texts else "bytes"
    if tensor.scalar:
        return one
    return f"list[{one}]" if len(tensor.dims) == 1 else "npt.NDArray[np.object_]"


def _reader(tensor: TensorInterface) -> str:
    """Name the method of a row that gives what :func:`_annotation_of_result` says."""
    if tensor.datatype != "BYTES":
        return "number" if tensor.scalar else "array"
    if tensor.scalar:
        return {"json": "document", "text": "text"}.get(tensor.content, "data")
    flat = len(tensor.dims) == 1
    if tensor.content in ("text", "json"):
        return "texts" if flat else "text_array"
    return "data_list" if flat else "array"


def _number(tensor: TensorInterface) -> str:
    if tensor.datatype == "BOOL":
        return "bool"
    return "int" if "INT" in tensor.datatype else "float"


def _array(tensor: TensorInterface) -> str:
    if tensor.datatype == "BF16":  # numpy has no name for it
        return "npt.NDArray[Any]"
    return f"npt.NDArray[np.{_NUMPY.get(tensor.datatype, tensor.datatype.lower())}]"


def _choice(tensor: TensorInterface, aliases: dict[str, Node], taken: set[str]) -> str:
    """Name the type of a text that is one of few; empty where it may be any."""
    if not 0 < len(tensor.values) <= _MOST_VALUES:
        return ""
    choice = Bracketed("Literal[", [quoted(value) for value in tensor.values], "]")
    wanted = names.class_name(tensor.name)
    if aliases.get(wanted) == choice:
        return wanted
    alias = names.class_name(tensor.name, {*taken, *aliases})
    aliases[alias] = choice
    return alias
