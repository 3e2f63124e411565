"""What code a field of a declaration depends on, and what does not matter to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.build import fingerprint

BUILDER = '''
"""A builder."""
import numpy as np
from torch import nn
from modelport.spec import Serving, TorchModel, Training

WIDTH = 3
UNUSED = 4
FAST = Serving(instances=2)
np.seterr(all="raise")


def layer(width):
    return nn.Linear(2, width)


def network():
    return layer(WIDTH)


def score(outputs, targets):
    return {"loss": 0.0}


model = TorchModel(
    name="tiny",
    network=network,
    evaluate=score,
    serving=FAST,
    training=Training(epochs=3),
    doc="What it does.",
)
'''
TRAINED_BY = ("network", "data", "training")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "builder.py"
    path.write_text(BUILDER)
    return path


def changed(path: Path, old: str, new: str, *fields: str) -> bool:
    before = fingerprint.of_fields(path, "tiny", fields)
    assert old in BUILDER
    path.write_text(BUILDER.replace(old, new))
    return fingerprint.of_fields(path, "tiny", fields) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 3", "WIDTH = 5"),
        ("nn.Linear(2, width)", "nn.Linear(2, width, bias=False)"),
        ("epochs=3", "epochs=4"),
        ("network=network", "network=lambda: layer(2)"),
        ('all="raise"', 'all="warn"'),
        ("from torch import nn", "from torch.ao import nn"),
        ("def network():", "@staticmethod\ndef network():"),
    ],
)
def test_what_the_weights_depend_on_counts(path: Path, old: str, new: str) -> None:
    assert changed(path, old, new, *TRAINED_BY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("instances=2", "instances=3"),
        ("UNUSED = 4", "UNUSED = 5"),
        ('"loss": 0.0', '"loss": 1.0'),
        ("What it does.", "What it does well."),
        ('"""A builder."""', '"""The builder."""'),
        ("def layer", "# A layer.\ndef layer"),
    ],
)
def test_what_they_do_not_depend_on_does_not(path: Path, old: str, new: str) -> None:
    assert not changed(path, old, new, *TRAINED_BY)


def test_other_fields_depend_on_other_code(path: Path) -> None:
    assert changed(path, '"loss": 0.0', '"loss": 1.0', "evaluate")


def test_a_name_that_is_given_twice_counts_both_times(path: Path) -> None:
    assert changed(path, "WIDTH = 3", "WIDTH = 3\nWIDTH = WIDTH + 1", *TRAINED_BY)


def test_an_item_that_is_set_counts_as_code_that_runs(path: Path) -> None:
    assert changed(path, "UNUSED = 4", "UNUSED = {}\nUNUSED['a'] = 1", *TRAINED_BY)


@pytest.mark.parametrize("declaration", ['name="ti" + "ny"', '**{"name": "tiny"}'])
def test_where_the_declaration_is_not_found_the_whole_file_counts(
    path: Path, declaration: str
) -> None:
    path.write_text(BUILDER.replace('name="tiny"', declaration))
    before = fingerprint.of_fields(path, "tiny", TRAINED_BY)
    path.write_text(path.read_text().replace("instances=2", "instances=3"))
    assert fingerprint.of_fields(path, "tiny", TRAINED_BY) != before


def test_what_a_tensor_means_does_not_count(path: Path) -> None:
    """Nothing is trained anew because a unit is named."""
    plain = 'inputs=(Tensor("x", "FP32", (2,)),)'
    path.write_text(BUILDER.replace("network=network,", f"network=network, {plain},"))
    before = fingerprint.of_fields(path, "tiny", ("network", "inputs"))
    said = plain.replace("(2,)", '(2,), unit="ms", minimum=0, maximum=9, values=(), content=""')
    path.write_text(BUILDER.replace("network=network,", f"network=network, {said},"))
    assert fingerprint.of_fields(path, "tiny", ("network", "inputs")) == before
    path.write_text(BUILDER.replace("network=network,", 'network=network, inputs=Other(unit="s"),'))
    other = fingerprint.of_fields(path, "tiny", ("network", "inputs"))
    path.write_text(BUILDER.replace("network=network,", "network=network, inputs=Other(),"))
    assert fingerprint.of_fields(path, "tiny", ("network", "inputs")) != other
