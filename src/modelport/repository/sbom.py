"""A bill of materials of one version, in CycloneDX 1.6 JSON.

It says what the manifest and ``environment.json`` of the version say, in the words of the
standard (ECMA-424): the model with its files, the models that it runs, the data with their
licences, the builder file, the git commit, and every package that was installed at the build.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from modelport import __version__
from modelport.errors import RepositoryError
from modelport.repository import digests
from modelport.repository.build_environment import BuildEnvironment
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest

_DIRTY = "-dirty"

Component = dict[str, Any]


def bill(folder: ModelFolder, version: int) -> dict[str, Any]:
    """Make the bill of a version; equal versions give equal bills.

    Raises:
        RepositoryError: there is no such version.
        IntegrityError: its manifest or environment cannot be read.
    """
    if version not in folder.proven_versions():
        known = ", ".join(map(str, folder.proven_versions())) or "none"
        raise RepositoryError(
            f"{folder.path}: there is no proven version {version}",
            cause=f"it has {known}",
            next_step=f"modelport build {folder.name}",
            model=folder.name,
            version=version,
        )
    manifest = folder.manifest(version)
    environment = BuildEnvironment.read(folder.version_dir(version))
    proof = digests.of_file(folder.version_dir(version) / MANIFEST)
    model = _model(manifest, environment)
    made_of = [*_parts(manifest), *_data(manifest), _builder(manifest)]
    packages = [*_packages(manifest, environment)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'sha256:{proof}')}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created.isoformat().replace("+00:00", "Z"),
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [{"type": "application", "name": "modelport", "version": __version__}]
            },
            "component": model,
        },
        "components": [*made_of, *packages],
        "dependencies": [
            {
                "ref": model["bom-ref"],
                "dependsOn": sorted(one["bom-ref"] for one in [*made_of, *packages]),
            }
        ],
    }


def _model(manifest: Manifest, environment: BuildEnvironment | None) -> Component:
    """Describe the version itself, with its files inside."""
    name = f"{manifest.model}@{manifest.version}"
    facts = {
        "build_key": manifest.build_key,
        "kind": manifest.kind,
        "precision": manifest.precision,
        "proven_on": manifest.proof.server,
        "seed": manifest.seed,
    }
    if environment is not None:
        facts |= {
            "python": environment.python,
            "platform": environment.platform,
            "cpu": environment.cpu,
            "cores": environment.cores,
        }
    component: Component = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": manifest.model,
        "version": str(manifest.version),
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{name}/{file.path}",
                "name": file.path,
                "hashes": _sha256(file.sha256),
            }
            for file in manifest.files
        ],
        "properties": _properties(facts),
    }
    if manifest.doc:
        component["description"] = manifest.doc
    if manifest.git_commit:
        commit = manifest.git_commit.removesuffix(_DIRTY)
        component["pedigree"] = {"commits": [{"uid": commit}]}
        if manifest.git_commit.endswith(_DIRTY):
            component["pedigree"]["notes"] = "The builder file was changed since this commit."
    if card := _card(manifest):
        component["modelCard"] = card
    return component


def _card(manifest: Manifest) -> dict[str, Any]:
    card: dict[str, Any] = {}
    if manifest.metrics is not None:
        split = f"{manifest.metrics.split}, {manifest.metrics.count} items"
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {"type": name, "value": f"{value:.6g}", "slice": split}
                for name, value in manifest.metrics.values.items()
            ]
        }
    if manifest.limits:
        card["considerations"] = {"technicalLimitations": list(manifest.limits)}
    return card


def _parts(manifest: Manifest) -> Iterator[Component]:
    """List the models that it runs, in the versions that it was proven with."""
    for name in manifest.runs:
        version = manifest.parts.get(name)
        part: Component = {"type": "machine-learning-model", "name": name}
        if version is not None:
            part["version"] = str(version)
        yield {**part, "bom-ref": f"model:{name}@{version or ''}"}


def _data(manifest: Manifest) -> Iterator[Component]:
    # Two members of one package differ in name, the same file read twice does not.
    for entry in dict.fromkeys((e.source, e.sha256, e.licence) for e in manifest.data):
        source, sha256, licence = entry
        yield {
            "type": "data",
            "bom-ref": f"data:{sha256}:{source}",
            "name": source,
            "hashes": _sha256(sha256),
            "licenses": [{"license": {"name": licence}}],
        }


def _builder(manifest: Manifest) -> Component:
    return {
        "type": "file",
        "bom-ref": f"builder:{manifest.builder.path}",
        "name": manifest.builder.path,
        "hashes": _sha256(manifest.builder.sha256),
    }


def _packages(manifest: Manifest, environment: BuildEnvironment | None) -> Iterator[Component]:
    """List the packages that were installed; those that the weights depend on are required."""
    installed = environment.packages if environment is not None else {}
    for name, version in sorted({**installed, **manifest.dependencies}.items()):
        # Source: github.com/package-url/purl-spec, types/pypi-definition.
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        package_url = f"pkg:pypi/{canonical}@{quote(version, safe='')}"
        yield {
            "type": "library",
            "bom-ref": package_url,
            "name": name,
            "version": version,
            "purl": package_url,
            "scope": "required" if name in manifest.dependencies else "optional",
        }


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(facts: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": f"modelport:{name}", "value": str(value)}
        for name, value in facts.items()
        if value is not None
    ]
