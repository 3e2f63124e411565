"""Variants of a network: judged through the server, published with their ancestry, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from workplace import Workplace

from modelport.build import rebuilding
from modelport.build.steps import Report
from modelport.cli import command
from modelport.client import Client
from modelport.errors import BuilderError, DataError, GateError
from modelport.repository import doctor
from modelport.repository.layout import Repository
from modelport.repository.manifest import Manifest
from modelport.runtime.server import Server
from modelport.verify import side_by_side

TINY = """\
import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from modelport import spec
from modelport.build import Dataset

IMAGE = spec.Tensor("image", "FP32", (64,))
SCORES = spec.Tensor("scores", "FP32", (10,))


def data():
    digits = load_digits()
    return Dataset.split({{"image": digits.data.astype(np.float32)}}, digits.target)


network = spec.TorchModel(
    name="small_network",
    inputs=(IMAGE,),
    outputs=(SCORES,),
    network=lambda: nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)),
    data=data,
    training=spec.Training(epochs={epochs}, learning_rate=0.01),
    gates=(spec.Gate("accuracy", at_least=0.9),),
    variants=("int8-dynamic",),
    budgets={budgets},
)
whole = spec.Ensemble.chain(network, name="small")
models = (network, whole)
"""
ENOUGH = '(spec.Budget("accuracy", drop=0.02), spec.Budget("cosine", at_least=0.98))'
TOO_LITTLE = '(spec.Budget("cosine", at_least=0.9999999),)'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short rounds: what is chosen here does not rest on how long anything takes."""
    monkeypatch.setattr(side_by_side, "ROUNDS", 6)
    monkeypatch.setattr(side_by_side, "BLOCK_S", 0.05)


def declared(workplace: Workplace, *, epochs: int = 8, budgets: str = ENOUGH) -> Path:
    return workplace.builder("small", TINY.format(epochs=epochs, budgets=budgets))


def manifests(workplace: Workplace, name: str = "small_network") -> Sequence[Manifest]:
    folder = workplace.model(name)
    return [folder.manifest(version) for version in folder.proven_versions()]


def test_a_variant_within_its_budget(workplace: Workplace) -> None:
    declared(workplace)
    built = workplace.build(choose="size")
    told = [(e.model, e.step) for e in workplace.events if isinstance(e, Report)]
    # Two versions of two models are proven and published; all else is told once.
    assert sorted(step for step in told if told.count(step) > 1) == sorted(
        2 * [(m, s) for m in ("small", "small_network") for s in ("prove", "publish")]
    )
    full, chosen = manifests(workplace)
    assert [(b.model, b.version, b.new) for b in built] == [
        ("small_network", 1, True),
        ("small", 1, True),
        ("small_network", 2, True),
        ("small", 2, True),
    ]
    assert (full.precision, full.derived_from) == ("fp32", None)
    assert (chosen.precision, chosen.derived_from) == ("int8-dynamic", 1)
    assert chosen.metrics
    assert full.metrics
    assert chosen.metrics.values["accuracy"] > full.metrics.values["accuracy"] - 0.02

    judged = chosen.judgement
    assert judged
    assert judged.chosen == "int8-dynamic"
    fp32, int8 = judged.variants
    assert fp32.sha256 in {file.sha256 for file in full.files}
    assert int8.size_bytes < 0.5 * fp32.size_bytes
    assert int8.rates.keys() == {"1", "8"}
    assert int8.ratios.keys() == {"cpu", "latency", "throughput"}
    assert int8.memory_bytes
    assert int8.load_ms
    assert 0.98 < int8.least_cosine < 1
    # Of the ensemble too, a version that was proven with it.
    assert manifests(workplace, "small")[-1].parts == {"small_network": 2}
    assert not [f for f in doctor.check(workplace.repository) if f.severity == "error"]

    # What was chosen stays chosen, also where the index of builds is lost.
    (workplace.builders / "small.py").touch()
    assert [(b.version, b.new) for b in workplace.build()] == [(2, False), (2, False)]
    declared(workplace, budgets=ENOUGH + "  # another layout")
    assert [(b.version, b.new) for b in workplace.build()] == [(2, False), (2, False)]

    served_as_it_is(workplace, judged.variants[0].figures)
    cards_and_plots(workplace)

    found = rebuilding.rebuild(
        Repository(workplace.repository),
        "small",
        2,
        builders=workplace.builders,
        listener=lambda _: None,
    )
    assert found.same, found

    # Another network is published as it was trained: nobody has judged its variants.
    declared(workplace, epochs=9)
    assert [(b.version, b.new) for b in workplace.build()] == [(3, True), (3, True)]
    assert manifests(workplace)[-1].precision == "fp32"


def served_as_it_is(workplace: Workplace, figures: dict[str, float]) -> None:
    """Ask the server, and hold the content of its replies against the data's own truth."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.data[:64].astype(np.float32)
    with Server.start(workplace.repository, listed=False) as server:
        for url in (server.endpoints.http, server.endpoints.grpc):
            with Client(url) as client:
                answers = client.infer("small", {"image": images})["scores"].argmax(-1)
                assert (answers == digits.target[:64]).mean() > figures["accuracy"] - 0.1


def cards_and_plots(workplace: Workplace) -> None:
    at = ["--repository", str(workplace.repository)]
    card = CliRunner().invoke(command, ["card", "small", "--markdown", *at], catch_exceptions=False)
    assert "## Variants" in card.output
    assert "int8-dynamic for size" in card.output
    for ending, begins in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".html", b"<!doctype html>")):
        plot = workplace.path / f"plot{ending}"
        arguments = ["pareto", "small", *at, "--output", str(plot), "--json"]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert json.loads(done.stdout)["small_network"]["chosen"] == "int8-dynamic"
        assert plot.read_bytes().startswith(begins)


def test_a_variant_over_its_budget_is_never_published(workplace: Workplace) -> None:
    declared(workplace, budgets=TOO_LITTLE)
    built = workplace.build(choose="size")
    assert [(b.model, b.version, b.new) for b in built] == [
        ("small_network", 1, True),
        ("small", 1, True),
    ]
    (full,) = manifests(workplace)
    # The version that was kept says what the others lost.
    assert full.judgement
    assert full.judgement.chosen == "fp32"
    assert full.judgement.variants[1].verdict.startswith("over budget: cosine is 0.99")

    with pytest.raises(GateError, match="int8-dynamic does not keep its budget: cosine is"):
        workplace.build(choose="int8-dynamic")
    assert len(manifests(workplace)) == 1


def test_what_cannot_be_chosen(workplace: Workplace) -> None:
    declared(workplace)
    with pytest.raises(BuilderError, match="no network of it declares the variant 'int8'"):
        workplace.build(choose="int8")
    text = TINY.replace('    variants=("int8-dynamic",),\n', "").format(epochs=8, budgets=ENOUGH)
    workplace.builder("small", text)
    with pytest.raises(BuilderError, match="no network of it declares variants"):
        workplace.build("small", choose="size")
    assert not workplace.repository.exists() or not list(workplace.repository.glob("*/1"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('s.inputs["image"][:, :3]', r"expected \[items, 64\], got \[\d+, 3\]"),
        ('s.inputs["image"] * np.float32(np.nan)', "got NaN or infinity"),
        ('s.inputs["image"][:1].repeat(20, axis=0)', "got one item 20 times"),
    ],
)
def test_calibration_data_that_says_nothing_is_refused(
    workplace: Workplace, given: str, said: str
) -> None:
    calibration = f'variants=("int8",), calibration=lambda s: {{"image": {given}}},'
    text = TINY.format(epochs=1, budgets=ENOUGH).replace("at_least=0.9)", "at_least=0)")
    workplace.builder("small", text.replace('variants=("int8-dynamic",),', calibration))
    with pytest.raises(
        DataError, match=r"small\.py: model 'small_network', variant int8: "
    ) as caught:
        workplace.build(choose="size")
    assert re.search(said, caught.value.what)
    assert not list(workplace.repository.glob("*/1"))


def test_a_budget_names_a_figure(workplace: Workplace) -> None:
    declared(workplace, budgets='(spec.Budget("accurcy", drop=0.01),)')
    with pytest.raises(
        BuilderError, match="budget on 'accurcy', but the evaluation gives accuracy"
    ):
        workplace.build(choose="size")
