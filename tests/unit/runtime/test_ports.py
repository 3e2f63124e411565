"""Free and given ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from modelport.errors import PortInUseError, ServerStartError
from modelport.runtime import ports


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_free_ports_are_all_different() -> None:
    chosen = ports.choose("127.0.0.1", {"--http-port": 0, "--grpc-port": 0, "--metrics-port": 0})
    assert len(set(chosen.values())) == 3


def test_a_port_in_use_names_its_flag_and_its_holder(busy: int) -> None:
    with pytest.raises(PortInUseError, match=f"--grpc-port {busy}") as caught:
        ports.choose("127.0.0.1", {"--http-port": 0, "--grpc-port": busy})
    assert caught.value.objects["pid"] == os.getpid()
    assert f"process {os.getpid()} listens there" in str(caught.value)
    assert "--grpc-port 0" in str(caught.value)


def test_a_listener_on_all_addresses_is_in_the_way_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUseError):
            ports.choose("127.0.0.1", {"--http-port": port})


def test_one_port_for_two_flags_is_refused() -> None:
    (port,) = ports.choose("127.0.0.1", {"--http-port": 0}).values()
    with pytest.raises(PortInUseError):
        ports.choose("127.0.0.1", {"--http-port": port, "--grpc-port": port})


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ServerStartError, match="--host"):
        ports.choose(host, {"--http-port": 0})
