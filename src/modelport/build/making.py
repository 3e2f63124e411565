"""From the ONNX file of a trained network to that of one of its variants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelport.build import export, half, provenance, steps
from modelport.build.dataset import Split
from modelport.build.network import NetworkBuild
from modelport.build.pruned import PrunedBuild
from modelport.build.quantization import calibration, quantize
from modelport.build.quantization.calibration import Item
from modelport.build.steps import Done, Report
from modelport.errors import DataError, ExportError, ParityError
from modelport.repository.samples import Samples
from modelport.spec.precision import Bf16, Fp16, Int8, Int8Dynamic, Precision, Pruned, Variant
from modelport.verify import in_process

# Made for GPUs: ONNX Runtime has hardly a kernel of them for CPUs.
FOR_GPUS: frozenset[Precision] = frozenset({"fp16", "bf16"})
_ONNX = "model.onnx"
# Of the proof's requests: every tensor inside is measured on each.
_MEASURED = 16


def make(network: NetworkBuild, variant: Variant, cases: Done) -> Done:
    """Make a variant's ``model.onnx``; a step that is kept.

    Args:
        network: that it is made of.
        variant: which one.
        cases: the step that made the requests of the proof.

    Raises:
        DataError: calibration data is not fit for it.
        BuilderError: the network cannot be pruned.
        ParityError: the file of a pruned network differs from that network.
        ExportError: the graph has nothing that the variant could change.
    """
    if isinstance(variant, Pruned):
        return _pruned(PrunedBuild(network, variant), cases)
    inputs = {
        "slim": network.slimmed.key,
        "variant": repr(variant),
        "versions": provenance.dependencies(),
        **(_from_requests(cases) if _is_half(variant) else _from_data(network, variant)),
    }

    def work(folder: Path) -> Mapping[str, Any]:
        with _placed(network, variant):
            return written(folder)

    def written(folder: Path) -> Mapping[str, Any]:
        source, target = network.onnx_file, folder / _ONNX
        if isinstance(variant, (Fp16, Bf16)):
            return half.convert(source, target, _requests(cases), variant)
        feeds: list[Item] = []
        if isinstance(variant, (Int8, Int8Dynamic)) and variant.needs_calibration:
            feeds = calibrated(network, variant.items)
        return quantize(source, target, variant, feeds)

    done = steps.run("variant", inputs, work)
    took = None if done.cached else done.duration_s
    words = _words(done.facts())
    network.listener(Report(f"{network.model.name} {variant.name}", "variant", words, took))
    return done


def calibrated(network: NetworkBuild, most: int) -> list[Item]:
    """Choose calibration data of a network's training split, as ONNX Runtime takes it.

    Args:
        network: declares how, or whose tensors the splits have.
        most: items that are chosen.

    Raises:
        DataError: it is not fit for it, or in the test split too.
    """
    model, builder, dataset = network.model, network.builder, network.dataset
    if model.calibration is None:
        train: Any = calibration.of_split(dataset.train.inputs, model.inputs)
        test: Any = dataset.test.inputs
    else:
        # By the same function, so that items of both splits can be told to be the same.
        with builder.blamed(model, "`calibration`", "mend the function"):
            train, test = (_each(model.calibration(s)) for s in (dataset.train, dataset.test))
    chosen = calibration.items(train, model.inputs, most=most, test=test)
    return calibration.feeds(chosen, batched=model.max_batch_size > 0)


def items_of(network: NetworkBuild, split: Split, *, most: int) -> list[Item]:
    """Choose items of a split as ONNX Runtime takes them, by the builder's ``calibration``.

    Raises:
        DataError: they do not fit the network.
    """
    model = network.model
    assert model.calibration is not None
    with network.builder.blamed(model, "`calibration`", "mend the function"):
        given = _each(model.calibration(split))
    chosen = calibration.items(given, model.inputs, most=most)
    return calibration.feeds(chosen, batched=model.max_batch_size > 0)


@contextmanager
def _placed(network: NetworkBuild, variant: Variant) -> Iterator[None]:
    """Say of what is wrong where it stands: in which file, of which model's variant."""
    try:
        yield
    except (DataError, ExportError) as error:
        place = f"{network.builder.path}: model {network.model.name!r}, variant {variant.name}"
        raise type(error)(
            f"{place}: {error.what}",
            cause=error.cause,
            next_step=error.next_step,
            **{"model": network.model.name, **error.objects},
        ) from error


def _pruned(build: PrunedBuild, cases: Done) -> Done:
    """Give the step that exported a pruned network, once its file answers as torch does."""
    model, read = build.build.model, Samples.read(cases.folder / "samples.json").cases
    own = [
        replace(case, outputs=export.reference(model, build.network, case.inputs)) for case in read
    ]
    found = in_process.parity(build.onnx_file, own, model.tolerance)
    if found.problems:
        raise ParityError(
            f"model {model.name!r}: the ONNX file of the pruned network differs from torch in"
            f" {len(found.problems)} of {found.requests} requests; the first:"
            f"\n    {found.problems[0]}",
            cause="an operator that exports differently, or a tolerance too strict for float32",
            next_step=f"look at {build.onnx_file}; set `tolerance` in {build.build.builder.path}",
            model=model.name,
            problems=found.problems,
        )
    return build.exported


def _each(given: Any) -> Any:
    """Run a function that gives batches one by one, so that its mistakes are its own."""
    return given if isinstance(given, Mapping) or not isinstance(given, Iterable) else list(given)


def _is_half(variant: Variant) -> bool:
    return variant.name in FOR_GPUS


def _from_requests(cases: Done) -> dict[str, object]:
    return {"cases": cases.key, "library": provenance.library("build/half*.py")}


def _from_data(network: NetworkBuild, variant: Variant) -> dict[str, object]:
    inputs: dict[str, object] = {"library": [provenance.library("build/quantization")]}
    if variant.needs_calibration:
        builder = network.builder
        inputs["calibration"] = builder.fingerprint(network.model, "data", "calibration")
        inputs["data"] = [file.entry.sha256 for file in network.fetched]
        inputs["builder"] = builder.library
    return inputs


def _requests(cases: Done) -> list[Item]:
    read = Samples.read(cases.folder / "samples.json").cases
    return [dict(case.inputs) for case in read[:_MEASURED]]


def _words(facts: Mapping[str, Any]) -> str:
    """Say what was done of what."""
    changed = facts.get("quantized", facts.get("converted", ()))
    kept = facts.get("kept", ())
    changed, kept = (one if isinstance(one, int) else len(one) for one in (changed, kept))
    return f"{changed} nodes changed, {kept} kept"
