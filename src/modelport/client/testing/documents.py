"""What a fake server says of itself and its models: the JSON documents of Triton 2.51."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelport.client.metadata import TensorMetadata
from modelport.client.testing.models import FakeModel

SERVER = {
    "name": "triton",
    "version": "2.51.0",
    "extensions": [
        "classification",
        "sequence",
        "model_repository",
        "model_repository(unload_dependents)",
        "schedule_policy",
        "model_configuration",
        "system_shared_memory",
        "cuda_shared_memory",
        "binary_tensor_data",
        "parameters",
        "statistics",
        "trace",
        "logging",
    ],
}


def metadata(model: FakeModel) -> dict[str, Any]:
    """Give ``/v2/models/NAME``."""
    known = model.metadata
    return {
        "name": known.name,
        "versions": list(known.versions),
        "platform": known.platform,
        "inputs": [_tensor(tensor) for tensor in known.inputs],
        "outputs": [_tensor(tensor) for tensor in known.outputs],
    }


def config(model: FakeModel) -> dict[str, Any]:
    """Give ``/v2/models/NAME/config``, with the defaults of a Python model."""
    known = model.metadata
    document: dict[str, Any] = {
        "name": known.name,
        "platform": "",
        "backend": "python",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": known.max_batch_size,
        "input": [
            {
                "name": tensor.name,
                "data_type": _type(tensor),
                "format": "FORMAT_NONE",
                "dims": _dims(model, tensor),
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": tensor.optional,
                "is_non_linear_format_io": False,
            }
            for tensor in known.inputs
        ],
        "output": [
            {
                "name": tensor.name,
                "data_type": _type(tensor),
                "dims": _dims(model, tensor),
                "label_filename": "",
                "is_shape_tensor": False,
                "is_non_linear_format_io": False,
            }
            for tensor in known.outputs
        ],
        "batch_input": [],
        "batch_output": [],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": True},
            "output_pinned_memory": {"enable": True},
            "gather_kernel_buffer_threshold": 0,
            "eager_batching": False,
        },
    }
    if model.sequence:
        document["sequence_batching"] = {
            "direct": {"max_queue_delay_microseconds": 0, "minimum_slot_utilization": 0.0},
            "max_sequence_idle_microseconds": 1000000,
            "control_input": [],
            "state": [],
            "iterative_sequence": False,
        }
    document |= {
        "instance_group": [
            {
                "name": f"{known.name}_0",
                "kind": "KIND_CPU",
                "count": 1,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "model.py",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
    }
    if known.decoupled:
        document["model_transaction_policy"] = {"decoupled": True}
    return document


def statistics(model: FakeModel, version: str) -> dict[str, Any]:
    """Give one entry of ``/v2/models/NAME/stats``."""
    counts, spent_ns = model.counts, model.spent_ns
    success = {"count": counts["success"], "ns": spent_ns}
    nothing = {"count": 0, "ns": 0}
    return {
        "name": model.metadata.name,
        "version": version,
        "last_inference": model.last_ms,
        "inference_count": counts["rows"],
        "execution_count": counts["success"],
        "inference_stats": {
            "success": success,
            "fail": {"count": counts["fail"], "ns": 0},
            "queue": {"count": counts["success"], "ns": 0},
            "compute_input": {"count": counts["success"], "ns": 0},
            "compute_infer": success,
            "compute_output": {"count": counts["success"], "ns": 0},
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def interface(document: Mapping[str, Any], kind: str) -> dict[str, tuple[str, list[int]]]:
    """Read the inputs or outputs of a configuration: datatype and shape by name."""
    batch = [-1] if document.get("max_batch_size") else []
    return {
        tensor["name"]: (
            "BYTES" if tensor["data_type"] == "TYPE_STRING" else tensor["data_type"][5:],
            [*batch, *map(int, tensor["dims"])],
        )
        for tensor in document.get(kind, ())
    }


def _tensor(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _type(tensor: TensorMetadata) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def _dims(model: FakeModel, tensor: TensorMetadata) -> list[int]:
    return list(tensor.shape[1:] if model.metadata.batching else tensor.shape)
