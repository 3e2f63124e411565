"""How perf/peers chooses settings, what it tries, and what it writes."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path

import pytest
from peers import cores, listening, sweep, variants
from peers.contestants import CONTESTANTS, HERE
from peers.networks import NETWORKS
from peers.sweep import Tried

from modelport.errors import ModelportError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_least_cpu_among_the_quick_is_best() -> None:
    tried = [
        Tried({"size": 1}, 100.0, 2.0),
        Tried({"size": 2}, 91.0, 1.5),
        Tried({"size": 4}, 89.0, 1.0),  # too slow
        Tried({"size": 8}, failure="no answer"),
    ]
    assert sweep.best(tried) is tried[1]


def test_a_sweep_is_as_busy_as_its_busiest_variant() -> None:
    assert sweep.busy([Tried({}, others=0.02), Tried({}, others=0.4), Tried({})]) == 0.4


def test_a_sweep_in_which_all_failed_chooses_nothing() -> None:
    with pytest.raises(ModelportError, match="no variant"):
        sweep.best([Tried({}, failure="no answer")])


def test_the_sweep_asks_at_other_concurrencies_than_the_comparison() -> None:
    from peers import compare

    options = {one.name: one for one in compare.main.params}
    measured = {int(one) for one in str(options["concurrency"].default).split(",")}
    assert not measured & set(sweep.LOADS)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_variant_is_of_settings_that_the_server_has(name: str) -> None:
    documented = CONTESTANTS[name].documented()
    for stage in variants.STAGES[name]:
        for variant in stage:
            assert variant.keys() <= documented.keys()
    # The documented settings are among the first ones, so that nothing is worse than they.
    first = variants.STAGES[name][0]
    assert any({**documented, **variant} == documented for variant in first)


@pytest.mark.parametrize("name", ["modelport", "litserve", "rayserve"])
def test_who_can_be_told_of_batches_is_tried_with_the_same(name: str) -> None:
    assert len(variants.STAGES[name][0]) == len(variants.BATCHES) == 10
    assert sweep.count(name) == 11


@pytest.mark.parametrize("name", CONTESTANTS)
def test_what_a_sweep_writes_is_what_is_read(name: str) -> None:
    text = (HERE / name / "settings.toml").read_text(encoding="utf-8")
    before = tomllib.loads(text)
    for network in NETWORKS:
        variant = dict(variants.STAGES[name][0][-1])
        tried = [Tried(variant, 90.0, 1.25, 0.02), Tried({"x": 1}, failure="status 500")]
        written = sweep.written(text, network, sweep.section(network, tried[0], tried))
        # Once more changes nothing, and what a person wrote stays.
        assert sweep.written(written, network, sweep.section(network, tried[0], tried)) == written
        assert written.startswith(text.partition(sweep.MARK)[0].rstrip())
        assert tomllib.loads(written) == {**before, network: variant}
        assert "90.0 replies/s, 1.250 ms CPU a reply" in written
        assert "others used up to 2%" in written
        assert "failed, status 500" in written


def test_sections_of_other_networks_stay() -> None:
    one = Tried({"workers": 1}, 90.0, 1.25)
    text = "[all]\nworkers = 2\n"
    for network in ("lstm", "cnn", "lstm"):
        text = sweep.written(text, network, sweep.section(network, one, [one]))
    assert list(tomllib.loads(text)) == ["all", "cnn", "lstm"]


def test_cores_are_those_that_may_be_used() -> None:
    assert cores.resolved({"workers": "cores", "app": "a"}) == {
        "workers": len(os.sched_getaffinity(0)),
        "app": "a",
    }


@pytest.mark.parametrize(
    ("address", "stranger"), [("127.0.0.1", False), ("127.0.0.2", False), ("0.0.0.0", True)]
)
def test_who_listens_beyond_loopback_is_found(address: str, stranger: bool) -> None:
    with socket.socket() as plug:
        plug.bind((address, 0))
        port = plug.getsockname()[1]
        place = f"{address}:{port}"
        assert place not in listening.beyond_loopback([os.getpid()])  # it does not listen yet
        if stranger:
            # The table is read as it would be; nothing is opened to strangers for a test.
            line = f" 0: {'00000000'}:{port:04X} 00000000:0000 0A 0:0 0:0 0 0 0 42 1"
            assert list(listening.listeners(f"head\n{line}\n")) == [("42", (address, port))]
            assert not listening.is_loopback(address)
            return
        plug.listen()
        assert place not in listening.beyond_loopback([os.getpid()])
        assert listening.is_loopback(address)


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "::ffff:127.0.0.1"),
        ("00000000000000000000000000000000", "::"),
    ],
    ids=["IPv4", "IPv6", "mapped", "any"],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel writes words as it has them")
def test_addresses_of_the_kernel_are_read(words: str, address: str) -> None:
    line = f" 0: {words}:1F90 0:0 0A 0:0 0:0 0 0 0 42 1"
    [(_, (found, port))] = listening.listeners(f"head\n{line}\n")
    assert (ipaddress.ip_address(found), port) == (ipaddress.ip_address(address), 8080)
    assert listening.is_loopback(found) == (address != "::")


def test_every_page_of_documentation_is_named_where_it_is_used() -> None:
    for name in CONTESTANTS:
        assert "https://" in Path(HERE, name, "settings.toml").read_text(encoding="utf-8")
