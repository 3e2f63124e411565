"""The model configuration against the ONNX graph, by the rules of NVIDIA's backend.

Each rule is one of ``ValidateInputs``, ``ValidateOutputs`` and
``CompareDimsSupported`` in onnxruntime_backend/src/onnxruntime.cc, so that a
model that loads here loads there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelport.errors import ConfigError
from modelport.serving.onnx.graph import ANY, Graph, TensorInfo
from modelport.serving.onnx.tensors import BF16, STRING, SUPPORTED

Tensor = Mapping[str, Any]  # an entry of `input` or `output` in the configuration

_BOOLEAN_CONTROLS = {
    "fp32_false_true": "TYPE_FP32",
    "int32_false_true": "TYPE_INT32",
    "bool_false_true": "TYPE_BOOL",
}


def check(config: Mapping[str, Any], graph: Graph) -> None:
    """Raise `ConfigError` for the first thing in ``config`` that ``graph`` does not fit.

    The message names model, tensor, what the configuration says and what the
    graph has.
    """
    _Check(config, graph).all()


class _Check:
    def __init__(self, config: Mapping[str, Any], graph: Graph) -> None:
        self.model = config.get("name", "")
        self.config = config
        self.graph = graph
        self.batched = int(config.get("max_batch_size", 0)) > 0

    def all(self) -> None:
        self._supported_features()
        for control in _controls(self.config):
            self._control(control)
        self._input_count()
        for tensor in self.config.get("input", ()):
            self._input(tensor)
        for tensor in self.config.get("output", ()):
            self._output(tensor)

    def _supported_features(self) -> None:
        """Refuse at load what would give wrong answers at run time."""
        if (self.config.get("sequence_batching") or {}).get("state"):
            raise self._error(
                "sequence_batching.state (implicit state) is not supported by this backend",
                "Triton keeps the state at its initial value for python-based backends",
                field="sequence_batching.state",
            )
        if (self.config.get("model_transaction_policy") or {}).get("decoupled"):
            raise self._error("decoupled transactions are not supported for ONNX models")
        for field in ("batch_input", "batch_output"):
            if self.config.get(field):
                raise self._error(f"{field} is not supported by this backend", field=field)
        if _types(self.graph.inputs, STRING) and _types(self.graph.outputs, BF16):
            raise self._error(
                f"string inputs {_names(_types(self.graph.inputs, STRING))} together with BF16 "
                f"outputs {_names(_types(self.graph.outputs, BF16))} are not supported",
                "onnxruntime's Python interface gives BF16 only for runs without strings",
                "cast the outputs to FP32 in the graph",
            )
        for group in self.config.get("instance_group", ()):
            if group.get("kind") == "KIND_GPU":
                raise self._error("instance_group: KIND_GPU is not supported by this backend")

    def _input_count(self) -> None:
        """Every input of the graph without a default must be configured, and no more."""
        inputs = self.config.get("input", ())
        configured = [tensor["name"] for tensor in inputs if not tensor.get("optional")]
        configured += [control["name"] for control in _controls(self.config)]
        if len(configured) == len(self.graph.inputs):
            return
        raise self._error(
            f"configuration expects {len(configured)} inputs, "
            f"model provides {len(self.graph.inputs)}",
            f"config.pbtxt has {_names(configured)}; the graph takes {_names(self.graph.inputs)}"
            + _defaulted_hint(self.graph),
            field="input",
        )

    def _input(self, tensor: Tensor) -> None:
        if tensor.get("optional") and self.batched:
            raise self._error(
                f"optional input '{tensor['name']}' is not supported for models that "
                "support batching",
                tensor=tensor["name"],
            )
        info = {**self.graph.inputs, **self.graph.defaulted}.get(tensor["name"])
        if info is None:
            raise self._unexpected("input", tensor, {**self.graph.inputs, **self.graph.defaulted})
        self._data_type("input", tensor, info)
        if tensor.get("allow_ragged_batch"):
            raise self._error(
                f"input '{tensor['name']}': allow_ragged_batch is not supported by this backend",
                tensor=tensor["name"],
            )
        self._dims(tensor, info, exact=False)

    def _output(self, tensor: Tensor) -> None:
        info = self.graph.outputs.get(tensor["name"])
        if info is None:
            raise self._unexpected("output", tensor, self.graph.outputs)
        self._data_type("output", tensor, info)
        self._dims(tensor, info, exact=True)

    def _control(self, control: Mapping[str, str]) -> None:
        info = self.graph.inputs.get(control["name"])
        if info is None:
            raise self._error(
                f"configuration specified sequence control '{control['name']}', "
                "but model does not provide that input",
                tensor=control["name"],
            )
        dims = info.shape[1:] if self.batched else info.shape
        if dims != (1,):
            raise self._error(
                f"sequence control '{info.name}' in model has dims {_text(dims)} "
                "but dims [1] is expected",
                tensor=info.name,
            )
        if control["data_type"] != info.data_type:
            raise self._error(
                f"sequence control '{info.name}', the model expects data-type {info.data_type} "
                f"but the model configuration specifies data-type {control['data_type']}",
                tensor=info.name,
            )

    def _data_type(self, kind: str, tensor: Tensor, info: TensorInfo) -> None:
        data_type = tensor["data_type"]
        if data_type not in SUPPORTED:
            raise self._error(
                f"unsupported datatype {data_type} for {kind} '{info.name}'", tensor=info.name
            )
        if data_type != info.data_type:
            raise self._error(
                f"configuration expects datatype {data_type} for {kind} '{info.name}', "
                f"model provides {info.data_type}",
                tensor=info.name,
            )

    def _dims(self, tensor: Tensor, info: TensorInfo, *, exact: bool) -> None:
        dims = config_dims(tensor)
        if not info.shape:
            self._scalar(info, dims)
            return
        if self.batched and not info.can_batch:
            raise self._error(
                f"tensor '{info.name}': for the model to support batching the shape should have "
                "at least 1 dimension and the first dimension must be -1; but shape expected "
                f"by the model is {_text(info.shape)}",
                "the network was exported with a fixed batch size",
                "export it with a dynamic first dimension, or set max_batch_size: 0",
                tensor=info.name,
            )
        complete = (ANY, *dims) if self.batched else dims
        if not _fits(info.shape, complete, exact=exact):
            batch = (
                " (an initial batch dimension because max_batch_size > 0 followed by the "
                f"explicit tensor shape, making complete shape {_text(complete)})"
            )
            raise self._error(
                f"tensor '{info.name}': the model expects {len(info.shape)} dimensions "
                f"(shape {_text(info.shape)}) but the model configuration specifies "
                f"{len(complete)} dimensions"
                + (batch if self.batched else f" (shape {_text(complete)})"),
                tensor=info.name,
            )

    def _scalar(self, info: TensorInfo, dims: Sequence[int]) -> None:
        if self.batched:
            raise self._error(
                f"scalar tensor '{info.name}' has no batch dimension, but max_batch_size > 0",
                "one number for a whole batch belongs to none of its requests",
                "set max_batch_size: 0",
                tensor=info.name,
            )
        if any(size != 1 for size in dims):
            raise self._error(
                f"scalar tensor '{info.name}', should only provide 1 in the model configuration "
                f"when the model doesn't support batching. Model configuration provided: "
                f"{_text(dims)}.",
                tensor=info.name,
            )

    def _unexpected(
        self, kind: str, tensor: Tensor, allowed: Mapping[str, TensorInfo]
    ) -> ConfigError:
        return self._error(
            f"unexpected inference {kind} '{tensor['name']}', "
            f"allowed {kind}s are: {', '.join(sorted(allowed))}",
            "the name in config.pbtxt is not the graph's",
            tensor=tensor["name"],
        )

    def _error(
        self,
        what: str,
        cause: str | None = None,
        next_step: str = "correct config.pbtxt",
        **objects: object,
    ) -> ConfigError:
        return ConfigError(
            f"unable to load model '{self.model}', {what}",
            cause=cause,
            next_step=next_step,
            model=self.model,
            **objects,
        )


def config_dims(tensor: Tensor) -> tuple[int, ...]:
    """Return the dims that the graph sees: those of ``reshape`` where there is one."""
    dims = tensor["reshape"].get("shape", ()) if tensor.get("reshape") else tensor["dims"]
    return tuple(int(size) for size in dims)


def _fits(model: Sequence[int], configured: Sequence[int], *, exact: bool) -> bool:
    """Inputs may be narrower than the graph's variable dimensions; outputs must be equal."""
    return len(model) == len(configured) and all(
        size == given or (size == ANY and not exact)
        for size, given in zip(model, configured, strict=True)
    )


def _controls(config: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Yield name and data_type of the tensors that the sequence batcher adds to requests."""
    for tensor in (config.get("sequence_batching") or {}).get("control_input", ()):
        for control in tensor.get("control", ()):
            yield {"name": tensor["name"], "data_type": _control_type(control)}


def _control_type(control: Mapping[str, Any]) -> str:
    for field, data_type in _BOOLEAN_CONTROLS.items():
        if control.get(field):
            return data_type
    return str(control.get("data_type", ""))


def _defaulted_hint(graph: Graph) -> str:
    if not graph.defaulted:
        return ""
    return f", and {_names(graph.defaulted)} have defaults and must be `optional: true`"


def _types(tensors: Mapping[str, TensorInfo], data_type: str) -> list[str]:
    return [name for name, info in tensors.items() if info.data_type == data_type]


def _names(names: Any) -> str:
    return "[" + ", ".join(names) + "]"


def _text(shape: Sequence[int]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"
