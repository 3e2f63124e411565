"""The whole toolchain, made from nothing: fetched with pip, unpacked, with its own environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.runtime import pins

from .conftest import eventually

COMMAND = [sys.executable, "-m", "modelport.cli", "toolchain", "--fetch", "--json"]


@pytest.mark.slow
def test_two_at_once_on_an_empty_cache_after_one_was_killed(tmp_path: Path) -> None:
    variables = {**os.environ, "MODELPORT_CACHE": str(tmp_path)}
    killed = subprocess.Popen(COMMAND, env=variables, stdout=subprocess.PIPE, text=True)
    triton = tmp_path / "triton"
    assert eventually(lambda: triton.is_dir() and any(triton.iterdir()))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (triton / pins.wheel().key).exists()

    both = [
        subprocess.Popen(COMMAND, env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    found = answers[0]["toolchain"]
    assert found["version"] == pins.wheel().release
    assert found["packages"]["numpy"] == "1.26.4"
    assert {"python", "onnxruntime"} <= set(found["backends"])
    # Each was made once, and nothing half done is left.
    for folder in ("triton", "server-env", "backends"):
        assert len(list((tmp_path / folder).iterdir())) == 1
