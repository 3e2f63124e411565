"""``modelport infer``: one request, and its answer as a table or as JSON."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli.output import Output, pass_output
from modelport.errors import InvalidInputError

if TYPE_CHECKING:
    from modelport.client.metadata import ModelMetadata, TensorMetadata
    from modelport.client.tensors import Array, Value

_MOST_VALUES = 12


@click.command("infer")
@click.argument("model")
@click.option(
    "--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="May be given many times."
)
@click.option("--output", "-o", "outputs", multiple=True, metavar="NAME", help="Only these.")
@click.option("--url", help="http://, https://, grpc:// or grpcs://; default: see below.")
@click.option("--model-version", default="", help="The server chooses by default.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds in all.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@pass_output
def command(
    out: Output,
    model: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    url: str | None,
    model_version: str,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Send one request to MODEL on a running server and show its answer.

    A model that answers with a stream shows each response as it comes; that needs
    gRPC.

    \b
    VALUE is one of
      @photo.png   the bytes of a file, for a BYTES tensor (@- reads stdin)
      @array.npy   an array, for a numeric tensor; @array.json likewise
      [1, 2.5]     JSON, for a numeric tensor, or a list of strings for BYTES
      some text    itself, for a BYTES tensor

    Without --url the server is the one in MODELPORT_URL, else one that
    `modelport serve` runs on this machine, else http://127.0.0.1:8000.
    """  # noqa: D301 - \b is click's mark for a block that is not to be wrapped
    from modelport.client import Client

    asked: dict[str, Any] = {"outputs": outputs or None, "version": model_version}
    with Client(url or find_server(), timeout_s=timeout_s) as client:
        metadata = client.metadata(model, model_version)
        values = read_inputs(metadata, inputs)
        if not metadata.decoupled:
            _show(out, model, client.infer(model, values, **asked), as_json)
            return
    with Client(url or find_server("grpc"), timeout_s=timeout_s) as client:
        for number, answer in enumerate(client.stream(model, values, **asked), start=1):
            if as_json:
                _show(out, model, answer, as_json)
                continue
            parts = (f"{name} {_shown(array)}" for name, array in answer.items())
            out.text(f"{number:>4}  {', '.join(parts)}")


def _show(out: Output, model: str, answer: Mapping[str, Array], as_json: bool) -> None:
    if as_json:
        out.json({"model": model, "outputs": {n: as_document(a) for n, a in answer.items()}})
        return
    rows = [[name, *_row(array)] for name, array in answer.items()]
    out.table(model, ["output", "datatype", "shape", "values"], rows)


def find_server(protocol: str = "http") -> str:
    """Give the URL of the environment, else of a server that runs here, else the usual one."""
    from modelport.client.url import URL_VARIABLE, default_url

    if os.environ.get(URL_VARIABLE):
        return default_url()
    try:
        from modelport.runtime.servers import running
    except ModuleNotFoundError:  # the base install has no runtime
        return default_url()
    # The newest first; one that serves the repository of this folder is meant before others.
    servers = running(Path("model_repository")) or running()
    return str(getattr(servers[0].endpoints, protocol)) if servers else default_url()


# --- inputs ------------------------------------------------------------------


def read_inputs(metadata: ModelMetadata, arguments: Iterable[str]) -> dict[str, Value]:
    """Read ``NAME=VALUE`` arguments into what the model's tensors take.

    Raises:
        InvalidInputError: an argument is malformed, unknown, or its file cannot be read.
    """
    values: dict[str, Value] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise InvalidInputError(
                f"--input {argument!r} is not NAME=VALUE",
                next_step=f"for example --input {metadata.inputs[0].name}=…",
            )
        if name in values:
            raise InvalidInputError(f"--input {name!r} is given twice", tensor=name)
        tensor = metadata.input_by_name.get(name)
        # The client names what is unknown, with near names.
        values[name] = text if tensor is None else _read_value(tensor, text)
    return values


def _read_value(tensor: TensorMetadata, text: str) -> Value:
    if text.startswith("@"):
        return _read_file(tensor, text[1:])
    if tensor.datatype != "BYTES":
        return _read_json(tensor, text, "the value")
    return _read_strings(text)


def _read_strings(text: str) -> Value:
    """Take a JSON list of strings for that, and anything else for text."""
    if text.startswith("["):
        try:
            value: Value = json.loads(text)
        except ValueError:
            return text
        return value
    return text


def _read_file(tensor: TensorMetadata, name: str) -> Value:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read {name!r} for the input {tensor.name!r}: {error.strerror}",
            tensor=tensor.name,
            path=name,
        ) from error
    if tensor.datatype == "BYTES":
        return content
    if Path(name).suffix == ".npy":
        return _read_npy(tensor, name, content)
    if Path(name).suffix in (".json", "") and content.isascii():
        return _read_json(tensor, content.decode(), name)
    raise InvalidInputError(
        f"{name!r} is neither .npy nor .json, which the {tensor.datatype} input "
        f"{tensor.name!r} takes",
        cause="how a picture or a text becomes numbers is for the model to say",
        next_step="convert it with numpy.save, or call the model that takes the file itself",
        tensor=tensor.name,
        path=name,
    )


def _read_npy(tensor: TensorMetadata, name: str, content: bytes) -> Value:
    import io

    import numpy as np

    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidInputError(
            f"{name!r} cannot be read as .npy: {error}", tensor=tensor.name, path=name
        ) from error
    return array


def _read_json(tensor: TensorMetadata, text: str, what: str) -> Value:
    try:
        value: Value = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(
            f"{what} {_shortened(text)!r} for the {tensor.datatype} input {tensor.name!r} "
            f"is not JSON: {error}",
            next_step="write numbers as [1, 2.5], or @array.npy for a file",
            tensor=tensor.name,
        ) from error
    return value


# --- outputs -----------------------------------------------------------------


def as_document(array: Array) -> Mapping[str, Any]:
    """Give a tensor as JSON: its V2 datatype, its shape, and its data nested like the shape.

    Strings that are not UTF-8 are written in base64, all of the tensor's, and
    ``encoding`` says so.
    """
    document: dict[str, Any] = {"datatype": _datatype(array), "shape": list(array.shape)}
    if array.dtype.kind != "O":
        plain = array.astype("float32") if document["datatype"] == "BF16" else array
        return {**document, "data": plain.tolist()}
    try:
        return {**document, "data": _each(array.tolist(), bytes.decode)}
    except UnicodeDecodeError:
        encoded = _each(array.tolist(), lambda item: base64.b64encode(item).decode())
        return {**document, "encoding": "base64", "data": encoded}


def _each(items: Any, change: Any) -> Any:
    return [_each(item, change) for item in items] if isinstance(items, list) else change(items)


def _row(array: Array) -> tuple[str, str, str]:
    shape = " × ".join(str(size) for size in array.shape) or "scalar"
    return _datatype(array), shape, _shown(array)


def _shown(array: Array) -> str:
    """Show the first values: text decoded, floats with four significant digits."""
    values = ", ".join(_value(item) for item in array.ravel()[:_MOST_VALUES])
    more = f", … ({array.size} values)" if array.size > _MOST_VALUES else ""
    return values + more


def _value(item: Any) -> str:
    if isinstance(item, bytes):
        return _shortened(item.decode(errors="backslashreplace"))
    try:
        whole = int(item) == item
    except (OverflowError, ValueError):  # infinite or not a number
        whole = False
    return str(item) if isinstance(item, bool) or whole else f"{float(item):.4g}"


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _datatype(array: Array) -> str:
    from modelport.client.tensors import DTYPES

    return next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
