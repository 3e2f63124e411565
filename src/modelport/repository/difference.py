"""What distinguishes two versions of a model: figures, data, code, configuration, files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelport.repository import figures, pbtxt
from modelport.repository.gpus import Gpu
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import Manifest

Pair = tuple[object, object]


@dataclass(frozen=True)
class Difference:
    """Two versions side by side; what is equal in both is left out.

    Attributes:
        figures: metric to its value in the one and in the other; of parts, too.
        facts: field of the manifest to its two values: parts, data, seed, packages, commit.
        files: path to its sizes in bytes, where the content differs; ``None`` where there is none.
        config: lines of a unified diff of the configurations.
    """

    figures: Mapping[str, Pair] = field(default_factory=dict)
    facts: Mapping[str, Pair] = field(default_factory=dict)
    files: Mapping[str, Pair] = field(default_factory=dict)
    config: tuple[str, ...] = ()


def between(folder: ModelFolder, one: int, other: int) -> Difference:
    """Compare two versions.

    Raises:
        IntegrityError: one has no manifest.
        ConfigError: a configuration does not parse.
    """
    manifests = folder.manifest(one), folder.manifest(other)
    sizes = [{f.path: f.size_bytes for f in m.files} for m in manifests]
    contents = [{f.path: f.sha256 for f in m.files} for m in manifests]
    changed = {path for path in {**contents[0], **contents[1]} if _differ(contents, path)}
    texts = [pbtxt.render(folder.config_of(version)).splitlines() for version in (one, other)]
    before, after = (f"version {version}" for version in (one, other))
    return Difference(
        figures=_pairs(*(figures.of(folder, manifest) for manifest in manifests)),
        facts=_pairs(*map(_facts, manifests)),
        files={path: (sizes[0].get(path), sizes[1].get(path)) for path in sorted(changed)},
        config=tuple(difflib.unified_diff(texts[0], texts[1], before, after, lineterm="")),
    )


def _facts(manifest: Manifest) -> dict[str, object]:
    parity = manifest.proof.through_server
    return {
        "builder": manifest.builder.sha256[:12],
        "commit": manifest.git_commit,
        "seed": manifest.seed,
        "precision": manifest.precision,
        "derived from": manifest.derived_from,
        **_of_plan(manifest),
        "largest difference to the reference": parity.worst_absolute,
        **{f"part {name}": version for name, version in manifest.parts.items()},
        **{f"data {one.source}": one.sha256[:12] for one in manifest.data},
        **{f"package {name}": version for name, version in manifest.dependencies.items()},
    }


def _of_plan(manifest: Manifest) -> dict[str, object]:
    plan = manifest.plan
    if plan is None:
        return {}
    gpu = Gpu(plan.gpu, plan.compute_capability)
    options = {f"plan {name}": value for name, value in plan.options.model_dump().items() if value}
    return {"TensorRT": plan.tensorrt, "GPU": f"{gpu.name} ({gpu.architecture})", **options}


def _pairs(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, Pair]:
    names = {**one, **other}
    pairs = {name: (one.get(name), other.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _differ(contents: list[dict[str, str]], path: str) -> bool:
    return contents[0].get(path) != contents[1].get(path)
