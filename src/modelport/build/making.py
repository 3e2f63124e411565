"""From the ONNX file of a trained network to that of one of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelport.build import provenance, steps
from modelport.build.network import NetworkBuild
from modelport.build.steps import Done, Report
from modelport.spec.precision import Int8Dynamic, Precision, Variant

# Made for GPUs: ONNX Runtime has hardly a kernel of them for CPUs.
FOR_GPUS: frozenset[Precision] = frozenset({"fp16", "bf16"})
_ONNX = "model.onnx"


def make(network: NetworkBuild, variant: Variant) -> Done:
    """Make a variant's ``model.onnx``; a step that is kept.

    Raises:
        DataError: calibration data is not fit for it.
        ExportError: the graph has nothing that the variant could change.
    """
    inputs = {
        "slim": network.slimmed.key,
        "variant": repr(variant),
        "versions": provenance.dependencies(),
    }

    def work(folder: Path) -> Mapping[str, object]:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        if isinstance(variant, Int8Dynamic):
            quantize_dynamic(network.onnx_file, folder / _ONNX, weight_type=QuantType.QInt8)
        return {}

    done = steps.run("variant", inputs, work)
    took = None if done.cached else done.duration_s
    network.listener(Report(f"{network.model.name} {variant.name}", "variant", "made", took))
    return done
