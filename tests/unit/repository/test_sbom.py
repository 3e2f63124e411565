"""The bill of materials says what the manifest says, in the words of CycloneDX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_versions
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modelport.errors import RepositoryError
from modelport.repository import sbom
from modelport.repository.build_environment import BuildEnvironment
from modelport.repository.manifest import FileEntry, Manifest, Metrics


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version with everything that a bill can speak of."""
    folder = small_versions.publish(tmp_path / "repository", "net", 2)
    BuildEnvironment(
        python="3.11.9",
        platform="Linux x86_64 glibc2.36",
        cpu="a cpu",
        cores=2,
        packages={"torch": "2.13.0+cpu", "typing_extensions": "4.1", "zipp": "3.0"},
    ).write(folder)
    entry = FileEntry.of(folder / "environment.json", folder)
    old = Manifest.read(folder)
    old.model_copy(
        update={
            "files": [*old.files, entry],
            "runs": ["part", "old_part"],
            "parts": {"part": 3},
            "metrics": Metrics(split="test", count=10, values={"accuracy": 0.9}),
            "limits": ["knows no other digits"],
            "data": [*old.data, *old.data],
        }
    ).write(folder)
    return folder


def bill(version: Path) -> dict[str, Any]:
    return sbom.bill(small_versions.model(version.parents[1], "net"), 2)


def named(bill: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bill["components"] if one["type"] == kind}


def test_it_names_everything_that_the_version_is_made_of(version: Path) -> None:
    found = bill(version)
    model = found["metadata"]["component"]
    assert (model["name"], model["version"]) == ("net", "2")
    assert model["pedigree"]["commits"] == [{"uid": "a" * 40}]
    assert "changed since" in model["pedigree"]["notes"]
    files = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert files == {entry.path: entry.sha256 for entry in Manifest.read(version).files}
    assert named(found, "machine-learning-model").keys() == {"part", "old_part"}
    assert named(found, "machine-learning-model")["part"]["version"] == "3"
    (data,) = named(found, "data").values()
    assert data["licenses"] == [{"license": {"name": "CC-BY-4.0"}}]
    assert data["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert named(found, "file").keys() == {"builders/small.py"}
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics == [{"type": "accuracy", "value": "0.9", "slice": "test, 10 items"}]


def test_packages_have_urls_that_scanners_know(version: Path) -> None:
    packages = named(bill(version), "library")
    assert packages["torch"]["purl"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert packages["typing_extensions"]["purl"] == "pkg:pypi/typing-extensions@4.1"
    scopes = {name: one["scope"] for name, one in packages.items()}
    assert scopes == {
        "modelport": "required", "torch": "required",
        "typing_extensions": "optional", "zipp": "optional",
    }  # fmt: skip


def test_references_are_unique_and_lead_somewhere(version: Path) -> None:
    """As the schema demands; it is checked with the schema itself where that is installed."""
    found = bill(version)
    model = found["metadata"]["component"]
    references = [one["bom-ref"] for one in [model, *model["components"], *found["components"]]]
    assert len(references) == len(set(references))
    (dependencies,) = found["dependencies"]
    assert dependencies["ref"] == model["bom-ref"]
    assert set(dependencies["dependsOn"]) == {one["bom-ref"] for one in found["components"]}


def test_it_fits_the_schema(version: Path) -> None:
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill(version)))
    assert found is None, found


def test_equal_versions_have_equal_bills(version: Path) -> None:
    assert bill(version) == bill(version)


def test_a_version_without_its_environment_has_a_bill(tmp_path: Path) -> None:
    small_versions.publish(tmp_path, "net")
    found = sbom.bill(small_versions.model(tmp_path, "net"), 1)
    assert named(found, "library").keys() == {"modelport", "torch"}


def test_an_absent_version_is_named(version: Path) -> None:
    with pytest.raises(RepositoryError, match="there is no proven version 7"):
        sbom.bill(small_versions.model(version.parents[1], "net"), 7)
