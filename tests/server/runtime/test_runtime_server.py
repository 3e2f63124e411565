"""A running server: its models, its control API, and how other commands find it."""

from __future__ import annotations

import http.client
import stat

import numpy as np
import pytest
from tritonclient import grpc

from modelport.client import Client
from modelport.errors import LoadError, RepositoryError
from modelport.runtime import cache, proc, servers
from modelport.runtime.events import Event
from modelport.runtime.server import Server

from .conftest import Models, X


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_models_answer_over_both_transports(shared: Server, scheme: str) -> None:
    with Client(getattr(shared.endpoints, scheme)) as client:
        for model in ("double", "pipeline"):
            np.testing.assert_array_equal(client.infer(model, {"x": X})["y"], 2 * X)
    assert shared.versions == {"double": "1", "pipeline": "1"}


def test_every_loaded_model_is_told_parts_before_ensembles(models: Models) -> None:
    models.ensemble("a_pipeline", "z_part")
    models.onnx("z_part")
    events: list[Event] = []
    with Server.start(models.path, on_event=events.append):
        pass
    loaded = [(e.model, e.version) for e in events if e.kind == "loaded"]
    assert loaded == [("z_part", "1"), ("a_pipeline", "1")]
    assert [e.kind for e in events[-3:]] == ["ready", "stopping", "stopped"]


def test_only_the_wanted_models_are_loaded_with_their_parts(models: Models) -> None:
    models.onnx("part")
    models.onnx("other")
    models.ensemble("whole", "part")
    with Server.start(models.path, models=["whole"]) as server:
        assert server.versions == {"part": "1", "whole": "1"}


def test_an_unknown_model_is_named_before_anything_starts(models: Models) -> None:
    models.onnx("digits")
    with pytest.raises(RepositoryError, match="digit5") as caught:
        Server.start(models.path, models=["digit5"])
    assert "did you mean digits" in str(caught.value)


def test_control_over_http_needs_the_key(shared: Server) -> None:
    assert _post_index(shared, {}) == http.client.FORBIDDEN
    assert _post_index(shared, shared.control_headers) == http.client.OK


def test_control_over_grpc_needs_the_key(shared: Server) -> None:
    with grpc.InferenceServerClient(shared.endpoints.grpc.removeprefix("grpc://")) as client:
        with pytest.raises(grpc.InferenceServerException, match="restricted"):
            client.get_model_repository_index()
        with pytest.raises(grpc.InferenceServerException, match="restricted"):
            client.unload_model("double")
    assert shared.versions["double"] == "1"


def test_the_key_is_nowhere_to_be_read(shared: Server) -> None:
    (key,) = shared.control_headers.values()
    assert key not in " ".join(proc.command_line(shared.pid))
    assert key not in shared.log_path.read_text(errors="replace")
    assert key not in repr(servers.running())


def test_other_commands_find_it(shared: Server) -> None:
    (repository,) = {m.folder.path.parent for m in shared.plan.models.values()}
    (found,) = servers.running(repository)
    assert found.pid == shared.pid
    assert found.endpoints == shared.endpoints
    assert {found.control_key} == set(shared.control_headers.values())
    file = cache.folder("servers") / f"{shared.pid}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_stopped_server_is_found_no_more(models: Models) -> None:
    models.onnx("double")
    with Server.start(models.path) as server:
        assert [s.pid for s in servers.running(models.path)] == [server.pid]
    assert servers.running(models.path) == []


def test_models_come_and_go_while_it_serves(models: Models) -> None:
    models.onnx("double")
    with Server.start(models.path) as server, Client(server.endpoints.http) as client:
        server.unload("double")
        assert not client.ready("double")
        server.load("double")
        assert client.ready("double")
        with pytest.raises(LoadError, match="absent"):
            server.load("absent")


def _post_index(server: Server, headers: dict[str, str]) -> int:
    host = server.endpoints.http.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("POST", "/v2/repository/index", "{}", headers)
    status = connection.getresponse().status
    connection.close()
    return status
