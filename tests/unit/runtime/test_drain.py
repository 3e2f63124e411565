"""In which order models are unloaded, so that none is missed by a request in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.runtime import drain, plan

BUILT = "# Written by modelport from builders/x.py; edit the builder.\n"
PYTHON, ONNX = 'backend: "python"\n', 'backend: "onnxruntime"\n'


@pytest.fixture
def waves(tmp_path: Path):
    """Give the waves of models: name to the text of its config.pbtxt."""

    def of(**configs: str) -> list[list[str]]:
        for name, text in configs.items():
            (tmp_path / name / "1").mkdir(parents=True)
            (tmp_path / name / "config.pbtxt").write_text(text)
        return drain._waves(plan.make([tmp_path]))

    return of


def calls(name: str) -> str:
    return f'parameters {{ key: "calls" value {{ string_value: "{name}" }} }}\n'


def test_callers_go_before_what_they_declare(waves) -> None:
    assert waves(bls=BUILT + PYTHON + calls("net"), labels=BUILT + PYTHON, net=BUILT + ONNX) == [
        ["bls"],
        ["labels", "net"],
    ]


def test_code_that_nobody_proved_may_call_anything(waves) -> None:
    assert waves(labels=BUILT + PYTHON, net=BUILT + ONNX, theirs=PYTHON) == [
        ["theirs"],
        ["labels", "net"],
    ]
