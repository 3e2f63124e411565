"""Plans in the place of ONNX versions, and the other way round, on the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fake_engine
import numpy as np
import plan_versions
import pytest
from plan_versions import HERE, X

from modelport.client import Client
from modelport.errors import LoadError
from modelport.repository.layout import ModelFolder
from modelport.repository.plans import Place
from modelport.runtime.events import Event
from modelport.runtime.server import Server
from modelport.runtime.toolchain import Toolchain
from modelport.runtime.watchdog import Watchdog

ENSEMBLE = """\
name: "over" platform: "ensemble" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 2 }
output { name: "y" data_type: TYPE_FP32 dims: 2 }
ensemble_scheduling { step { model_name: "tiny" model_version: -1
  input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }
"""


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    """Version 1 is y = 2x, and its plan 2 says that it is y = 20x, to be told apart."""
    folder = plan_versions.onnx_version(tmp_path / "repository", "tiny", 1)
    plan_versions.plan_version(folder, 2, of=1)
    return folder


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    return fake_engine.toolchain_in(tmp_path_factory.mktemp("toolchain"))


def asked(server: Server, model: str = "tiny") -> float:
    with Client(server.endpoints.http) as client:
        answer = client.infer(model, {"x": X})["y"]
    factors = answer / X
    assert np.all(factors == factors[0, 0])
    return float(factors[0, 0])


def test_a_plan_that_fits_serves_and_the_disk_stays_as_it_is(
    folder: ModelFolder, toolchain: Toolchain
) -> None:
    plan_versions.pin(folder, 1)
    over = folder.path.parent / "over"
    (over / "1").mkdir(parents=True)
    (over / "config.pbtxt").write_text(ENSEMBLE)
    before = folder.config_path.read_bytes()
    heard: list[Event] = []
    with Server.start(
        folder.path.parent, toolchain=toolchain, here=HERE, on_event=heard.append, listed=False
    ) as server:
        assert server.versions == {"over": "1", "tiny": "2"}
        assert (asked(server), asked(server, "over")) == (20.0, 20.0)
        # Loaded anew, it is the plan again; and it is asked what the plan was proven with.
        server.reload("tiny")
        assert (asked(server), server.loaded()["tiny"]) == (20.0, [2])
        Watchdog(server, on_event=heard.append).look()
        # A model that comes later finds its plan as well.
        other = plan_versions.onnx_version(folder.path.parent, "other", 1, factor=3.0)
        plan_versions.plan_version(other, 2, of=1, factor=30.0)
        plan_versions.pin(other, 1)
        server.add(["other"])
        assert asked(server, "other") == 30.0
    assert [event.kind for event in heard if event.kind in ("failed", "sick", "wrong")] == []
    assert folder.config_path.read_bytes() == before


def test_a_plan_that_does_not_fit_never_reaches_the_server(folder: ModelFolder) -> None:
    """The plan's file is no plan at all: a server that looked at it would not load the model."""
    plan_versions.pin(folder, 2)
    heard: list[Event] = []
    with Server.start(
        folder.path.parent, here=Place(), on_event=heard.append, listed=False
    ) as server:
        assert server.versions == {"tiny": "1"}
        assert asked(server) == 2.0
    refused = [event.text for event in heard if event.kind == "plan"]
    assert refused == [
        "tiny: plan 2 is refused: built for TensorRT 10.5.0 on NVIDIA A100 (sm_80); this machine"
        " has no GPU; version 1 serves in its place"
    ]


def test_without_anything_in_its_place_nothing_is_started(folder: ModelFolder) -> None:
    plan_versions.pin(folder, 2)
    (folder.version_dir(1) / "manifest.json").unlink()
    with pytest.raises(LoadError, match=r"tiny version 2 .* refused: built for TensorRT 10\.5\.0"):
        Server.start(folder.path.parent, here=Place())


def test_where_there_is_no_tensorrt_the_backend_says_so(folder: ModelFolder) -> None:
    """The backend is found; a machine that has a GPU, but not the package, hears what lacks."""
    plan_versions.pin(folder, 1)
    with pytest.raises(LoadError, match="tensorrt cannot be imported"):
        Server.start(folder.path.parent, here=HERE, listed=False)
