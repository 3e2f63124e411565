"""Statistics of perf/peers, the lines it counts, and the tables it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peers import ahead, compare, lines, pair, results, tables
from peers.contestants import CONTESTANTS, OWN, PEERS
from peers.networks import NETWORKS


def turn(**given: float) -> dict[str, float]:
    return dict.fromkeys(results.METRICS, 1.0) | {"others": 0.01} | given


def turns(*cpu_ms: float) -> list[dict[str, float]]:
    return [turn(cpu_ms=one, replies_per_s=100 / one) for one in cpu_ms]


def entry(ours: float, theirs: float, bare: float) -> dict[str, Any]:
    rounds = [{"8": turns(one), "32": turns(one)} for one in (ours, theirs)]
    side = {"version": "a==1", "encoding": "raw", "memory_mib": 100, "startup_s": 1.5, "lines": 9}
    side |= {"idle_cpu": 0.0, "checked": 10, "swept": True}
    return {
        "order": {"rounds": 1},
        "machine": {"cpu": "x", "cpus": 2, "kernel": "6", "python": "3", "onnxruntime": "1"},
        "modelport": side,
        "peer": side,
        "figures": results.pair(*rounds, [{"cpu_ms": bare}]),
        "bare": {"batch": 8, "cpu_ms": bare, "rows_per_s": 1000.0},
    }


@pytest.fixture
def store(tmp_path: Path) -> results.Store:
    made = results.Store(tmp_path / "results.json")
    made.add_limits(
        "cnn", {"1": {"cpu_ms": 0.2, "rows_per_s": 5e3}, "8": {"cpu_ms": 0.1, "rows_per_s": 9e3}}
    )
    made.add("fastapi", "cnn", entry(0.3, 0.5, 0.1))
    made.add("litserve", "cnn", entry(0.3, 1.2, 0.1))
    return made


def test_a_ratio_is_that_of_neighbours_in_time() -> None:
    # The machine was three times as slow in the last round, for both.
    found = results.ratio(turns(1, 2, 6), turns(2, 4, 12), "cpu_ms")
    assert found == {"median": 0.5, "low": 0.5, "high": 0.5}


def test_rounds_of_unequal_number_are_no_pair() -> None:
    with pytest.raises(ValueError, match="shorter"):
        results.ratio(turns(1, 2), turns(1), "cpu_ms")


def test_the_best_batch_takes_the_least_cpu() -> None:
    found = {batch: {"cpu_ms": cpu} for batch, cpu in {"1": 3, "8": 1, "16": 2}.items()}
    assert results.best_batch(found) == 8


def test_the_best_peer_is_the_hardest_one(store: results.Store) -> None:
    found = results.aims(store, "cnn", "8")
    assert (found["cpu_best"], found["cpu_over_best"]) == ("fastapi", 0.6)
    assert (found["replies_best"], found["replies_over_best"]) == ("fastapi", 1.667)
    assert found["cpu_over_bare"] == 3.0


def test_no_aim_is_judged_that_was_not_measured(store: results.Store) -> None:
    assert results.aims(store, "cnn", "1") == {}
    assert results.aims(store, "minilm", "8") == {}


def test_a_run_goes_on_where_it_ended(store: results.Store, tmp_path: Path) -> None:
    again = results.Store(tmp_path / "results.json")
    assert again.holds("fastapi", "cnn", {"rounds": 1})
    assert not again.holds("fastapi", "cnn", {"rounds": 5})
    assert not again.holds("kserve", "cnn", {"rounds": 1})
    assert again.limits == store.limits


def test_results_do_not_change_by_being_written_again(store: results.Store, tmp_path: Path) -> None:
    before = (tmp_path / "results.json").read_text()
    store.add("fastapi", "cnn", json.loads(before)["pairs"]["fastapi/cnn"])
    assert (tmp_path / "results.json").read_text() == before


def test_a_pair_on_a_busy_machine_is_known(store: results.Store) -> None:
    make_busy(store, "fastapi")
    assert results.others(store.pairs["fastapi/cnn"]) > results.BUSY
    assert "fastapi/cnn (40%)" in tables.markdown(store)
    # The next run measures it anew.
    assert not store.holds("fastapi", "cnn", {"rounds": 1})


def make_busy(store: results.Store, peer: str) -> None:
    made = json.loads(json.dumps(store.pairs[f"{peer}/cnn"]))
    made["figures"]["8"]["peer"]["others"] = 0.4
    store.add(peer, "cnn", made)


def complete(store: results.Store) -> None:
    for peer in PEERS:
        if peer not in store.of("cnn"):
            store.add(peer, "cnn", entry(0.3, 1.2, 0.1))


def test_nothing_is_judged_before_all_is_measured(store: results.Store) -> None:
    page = tables.markdown(store)
    assert f"| small CNN | 8 | {' | '.join(['not judged'] * 6)} |" in page
    assert (
        "- not measured: bentoml/cnn, mlserver/cnn, kserve/cnn, rayserve/cnn, fastapi/lstm" in page
    )
    assert "met" not in page.replace("method", "")
    complete(store)
    assert results.unjudged(store, "cnn", "8", PEERS) == {}
    assert results.unjudged(store, "cnn", "1", PEERS) == {
        "not measured": [f"{peer}/cnn" for peer in PEERS]
    }


def test_nothing_is_judged_on_a_busy_machine_or_without_a_sweep(store: results.Store) -> None:
    complete(store)
    make_busy(store, "kserve")
    unswept = entry(0.3, 1.2, 0.1)
    unswept["peer"] = unswept["peer"] | {"swept": False}
    store.add("mlserver", "cnn", unswept)
    assert results.unjudged(store, "cnn", "8", PEERS) == {
        "measured on a busy machine": ["kserve/cnn"],
        "with settings that no sweep has chosen": ["mlserver/cnn"],
    }
    page = tables.markdown(store)
    assert "- measured on a busy machine: kserve/cnn" in page
    assert "- with settings that no sweep has chosen: mlserver/cnn" in page


def test_the_page_is_that_of_the_results() -> None:
    assert compare.PAGE.read_text() == tables.markdown(results.Store(compare.RESULTS))


def test_the_first_of_a_round_alternates() -> None:
    order = [pair.first_and_second(number) for number in range(4)]
    assert order == [(0, 1), (1, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("took_s", "left_s"), [(0.0, 0.0), (30.0, 60.0), (15.0, 30.0)], ids=["none", "as", "quick"]
)
def test_the_time_left_follows_what_it_took(took_s: float, left_s: float) -> None:
    rest = ahead.Ahead([10.0, 20.0, 40.0, 20.0])
    assert rest.left_s(0.0) == 90.0
    rest.done()
    rest.done()
    assert rest.left_s(took_s) == left_s


def test_the_page_says_what_is_met(store: results.Store) -> None:
    complete(store)
    page = tables.markdown(store)
    assert (
        "| small CNN | 8 | 0.60 (FastAPI) | ≤ 0.7: met | 3.00 |  | 1.67 (FastAPI) | ≥ 1: met |"
        in page
    )
    store.add("kserve", "cnn", entry(0.3, 0.2, 0.1))
    assert (
        "| 1.50 (KServe) | ≤ 0.7: missed | 3.00 |  | 0.67 (KServe) | ≥ 1: missed |"
        in tables.markdown(store)
    )


def test_concurrencies_are_in_the_order_of_numbers(store: results.Store) -> None:
    # The file has its keys sorted as text.
    figures = dict.fromkeys(("1", "32", "8"), store.pairs["fastapi/cnn"]["figures"]["8"])
    for peer in ("fastapi", "litserve"):
        store.add(peer, "cnn", {**store.pairs["fastapi/cnn"], "figures": figures})
    assert "At concurrency 1 / 8 / 32:" in tables.markdown(store)
    shown = tables.show_pair("fastapi", "cnn", store.pairs["fastapi/cnn"]).columns[0]
    assert list(shown.cells) == ["1", "8", "32"]


def test_a_pair_of_other_concurrencies_takes_only_those_in_common(store: results.Store) -> None:
    figures = {"1": store.pairs["fastapi/cnn"]["figures"]["8"]}
    figures |= store.pairs["fastapi/cnn"]["figures"]
    store.add("kserve", "cnn", {**store.pairs["fastapi/cnn"], "figures": figures})
    assert "At concurrency 8 / 32:" in tables.markdown(store)


def test_each_row_of_a_table_has_all_columns(store: results.Store) -> None:
    widths: dict[str, set[int]] = {}
    heading = ""
    for line in tables.markdown(store).splitlines():
        heading = line if line.startswith("## ") else heading
        if line.startswith("|"):
            widths.setdefault(heading, set()).add(line.count("|"))
    assert widths
    assert all(len(found) == 1 for found in widths.values())


@pytest.mark.parametrize(
    ("text", "is_python", "count"),
    [
        ("", True, 0),
        ("# why\n\nx = 1  # what\n", True, 1),
        ('"""A\n\nmodule."""\n\ndef f():\n    """What."""\n    return """no\nmore"""\n', True, 3),
        ("class A:\n    '''Doc.'''\n", True, 1),
        ("# a\nmax_batch_size: 4\n\n  # b\n", False, 1),
    ],
    ids=["empty", "comments", "docstrings", "class", "pbtxt"],
)
def test_lines_of_code_are_counted(text: str, is_python: bool, count: int) -> None:
    assert lines.lines(text, is_python) == count


@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_server_is_set_for_every_network(name: str, network: str) -> None:
    one = CONTESTANTS[name]
    assert lines.count(one.user_files(NETWORKS[network])) > 3
    assert (one is OWN) or one.settings(NETWORKS[network])


@pytest.mark.parametrize("name", PEERS)
def test_every_version_is_pinned(name: str) -> None:
    from peers import environments

    text = environments.requirements(name).read_text()
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in listed)
    assert any(line.startswith("onnxruntime==") for line in listed)
    assert environments.package(text) == CONTESTANTS[name].version()
