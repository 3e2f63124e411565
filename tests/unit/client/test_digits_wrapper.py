"""A generated wrapper, `clients/digits.py`, as far as it goes without its model."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from modelport.client import Client, InvalidInputError, ServerRefusedError

FILE = Path(__file__).parents[3] / "clients" / "digits.py"


@pytest.fixture(scope="module")
def wrapper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits_wrapper", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_colour_is_not_taken_for_a_batch(wrapper: ModuleType, closed_port: int) -> None:
    with wrapper.Digits(f"http://127.0.0.1:{closed_port}") as digits:
        with pytest.raises(InvalidInputError, match=r"UINT8 \[-1, -1\].*got uint8\[8, 8, 3\]"):
            digits(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(ServerRefusedError):
            digits(np.zeros((8, 8), np.uint8))


def test_a_given_client_stays_open(wrapper: ModuleType, closed_port: int) -> None:
    client = Client(f"http://127.0.0.1:{closed_port}")
    with wrapper.Digits(client):
        pass
    with pytest.raises(ServerRefusedError):
        client.metadata("digits")


def test_as_a_program(closed_port: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    url = f"grpc://127.0.0.1:{closed_port}"
    for image, code, said in (
        (tmp_path / "a.png", 42, "connection refused"),
        (tmp_path / "missing.png", 41, "No such file"),
    ):
        done = subprocess.run(
            [sys.executable, str(FILE), str(image), "--url", url], capture_output=True, text=True
        )
        assert done.returncode == code
        assert said in done.stderr
        assert "Traceback" not in done.stderr
