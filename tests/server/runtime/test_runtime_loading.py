"""Models that do not load end in one error that says why, never in waiting."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelport.client import Client
from modelport.errors import LoadError, RepositoryError
from modelport.runtime import toolchain
from modelport.runtime.server import Server

from .conftest import WAITING, Models, X


def test_every_failure_is_in_one_error(models: Models) -> None:
    models.onnx("good")
    (models.onnx("truncated") / "1" / "model.onnx").write_bytes(b"not a graph")
    models.python("raises", "raise ValueError('weights do not fit')")
    models.python("imports", "import no_such_package")
    models.python("exits", "import os; os._exit(3)")
    models.python("no_code", None)
    models.ensemble("over_truncated", "truncated")
    with pytest.raises(LoadError) as caught:
        Server.start(models.path)
    failures = caught.value.objects["failures"]
    assert isinstance(failures, dict)
    assert set(failures) == {
        "truncated", "raises", "imports", "exits", "no_code", "over_truncated"
    }  # fmt: skip
    assert "weights do not fit" in failures["raises"].reason
    assert failures["raises"].version == "1"
    assert "own environment" in failures["imports"].cause
    assert "ended the process" in failures["exits"].cause
    assert "there is no model.py" in failures["no_code"].reason
    assert failures["over_truncated"].reason == "its part truncated did not load"
    assert all(name in str(caught.value) for name in failures)


def test_one_failure_has_three_parts(models: Models) -> None:
    models.onnx("m")
    config = models.path / "m" / "config.pbtxt"
    config.write_text(config.read_text().replace('"onnxruntime"', '"no_such_backend"'))
    with pytest.raises(LoadError, match=r"^m version 1 did not load: .*no_such_backend") as caught:
        Server.start(models.path)
    assert caught.value.cause is not None
    assert caught.value.next_step is not None


def test_a_load_that_hangs_ends_at_its_deadline(models: Models) -> None:
    models.python("hangs", "import time; time.sleep(3600)")
    models.python("waiting", WAITING)
    with pytest.raises(LoadError, match="hangs version 1 did not load: not loaded after 8 s"):
        Server.start(models.path, load_timeout_s=8)


def test_a_stub_that_cannot_start_is_noticed_before_the_deadline(
    models: Models, tmp_path: Path
) -> None:
    models.python("waiting", WAITING)
    found = toolchain.ensure()
    broken = Path(shutil.copytree(found.backends, tmp_path / "backends", symlinks=True))
    stub = broken / "python" / "triton_python_backend_stub"
    stub.write_text("#!/bin/sh\nexit 127\n")  # as when a library of its is missing
    with pytest.raises(LoadError, match=r"stub died|not healthy"):
        Server.start(
            models.path,
            load_timeout_s=3600,
            toolchain=dataclasses.replace(found, backends=broken),
        )


def test_models_join_a_running_server(models: Models) -> None:
    """What comes later serves beside what is there; what fails leaves both alone."""
    models.onnx("first")
    loaded: list[str] = []
    with Server.start(models.path, models=[]) as server, Client(server.endpoints.grpc) as client:
        assert server.versions == {}
        server.add(["first"])
        models.onnx("part", factor=3.0)
        models.ensemble("late", "part")
        models.python("raises", "raise ValueError('weights do not fit')")
        with pytest.raises(LoadError, match="weights do not fit"):
            server.add(
                ["late", "raises"],
                on_event=lambda e: loaded.append(e.model or "") if e.kind == "loaded" else None,
            )
        assert loaded == ["part", "late"]
        assert server.versions == {"first": "1", "part": "1", "late": "1"}
        assert set(server.plan.models) == {"first", "part", "late"}
        np.testing.assert_array_equal(client.infer("first", {"x": X})["y"], 2 * X)
        np.testing.assert_array_equal(client.infer("late", {"x": X})["y"], 3 * X)
        with pytest.raises(RepositoryError, match="there is no model 'nothing'"):
            server.add(["nothing"])


def test_an_ensemble_loads_its_python_parts_once(models: Models) -> None:
    """Bytecode that a stub leaves would make Triton load the part again with the ensemble."""
    models.python("waiting", WAITING)
    models.ensemble("over", "waiting")
    with Server.start(models.path) as server:
        assert len(list((models.path / "waiting" / "1" / "__pycache__").iterdir())) == 1
        assert server.log_path.read_text().count("loading: waiting:1") == 1
