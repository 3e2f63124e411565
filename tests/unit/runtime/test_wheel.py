"""Fetching tritonserver's wheel: with real pip, from a folder, onto a cache of its own."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from pathlib import Path

import pytest

from modelport.errors import ToolchainError
from modelport.runtime import wheel
from modelport.runtime.events import Event
from modelport.runtime.pins import WheelPin

from .conftest import FILE

PYTHON = Path(sys.executable)


def test_it_is_fetched_once_and_can_be_run(pin: WheelPin, cache_folder: Path) -> None:
    events: list[Event] = []
    first = wheel.ensure(pin, python=PYTHON, on_event=events.append)
    second = wheel.ensure(pin, python=PYTHON, on_event=events.append)
    assert first == second
    assert os.access(first, os.X_OK)
    assert [e.text.split()[0] for e in events] == ["fetching", "tritonserver"]
    # Only the server, and nothing that is half done.
    assert not list(cache_folder.rglob("client.py"))
    assert [p.name for p in (cache_folder / "triton").iterdir()] == [pin.key]


def test_two_at_once_fetch_it_once(pin: WheelPin) -> None:
    fetched: list[Event] = []
    results: list[Path] = []

    def run() -> None:
        results.append(wheel.ensure(pin, python=PYTHON, on_event=fetched.append))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert sum(e.text.startswith("fetching") for e in fetched) == 1


def test_an_interrupted_fetch_is_not_taken_for_a_finished_one(
    pin: WheelPin, cache_folder: Path
) -> None:
    half = cache_folder / "triton" / f"{pin.key}.partial-1"
    binary = half / "pytriton/tritonserver/bin/tritonserver"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(b"half of it")
    assert wheel.unpacked(pin) is None
    assert wheel.ensure(pin, python=PYTHON).read_bytes() == b"#!/bin/sh\n"
    assert not half.exists()


@pytest.mark.parametrize(
    ("damage", "words"), [(lambda b: b[:-40], "truncated"), (lambda b: b"\0" + b[1:], "altered")]
)
def test_a_damaged_wheel_is_refused_before_it_is_unpacked(
    pin: WheelPin, cache_folder: Path, wheel_folder: Path, damage: object, words: str
) -> None:
    offered = cache_folder / "wheels" / FILE
    offered.parent.mkdir(parents=True)
    offered.write_bytes(damage((wheel_folder / FILE).read_bytes()))  # type: ignore[operator]
    with pytest.raises(ToolchainError, match="sha256") as caught:
        wheel.ensure(pin, python=PYTHON)
    assert words in str(caught.value)
    assert str(offered) in str(caught.value)
    assert list((cache_folder / "triton").iterdir()) == []


def test_another_build_in_the_index_is_refused(pin: WheelPin) -> None:
    other = dataclasses.replace(pin, sha256="0" * 64)
    with pytest.raises(ToolchainError, match="sha256"):
        wheel.ensure(other, python=PYTHON)
    assert wheel.unpacked(other) is None


def test_without_network_it_says_what_to_put_where(
    pin: WheelPin, cache_folder: Path, wheel_folder: Path
) -> None:
    content = (wheel_folder / FILE).read_bytes()
    (wheel_folder / FILE).unlink()
    with pytest.raises(ToolchainError) as caught:
        wheel.ensure(pin, python=PYTHON)
    text = str(caught.value)
    assert "pip download --no-deps --only-binary :all: tiny-triton==1.0 -d DIR" in text
    assert "PIP_FIND_LINKS=DIR" in text
    assert f"copy {FILE} to {cache_folder / 'wheels'}" in text

    (cache_folder / "wheels").mkdir()
    (cache_folder / "wheels" / FILE).write_bytes(content)
    assert wheel.ensure(pin, python=PYTHON).is_file()
    assert (cache_folder / "wheels" / FILE).is_file()  # it is the user's


def test_an_old_c_library_is_named(pin: WheelPin) -> None:
    with pytest.raises(ToolchainError, match=r"needs glibc 9\.0 or newer; this machine has glibc"):
        wheel.ensure(dataclasses.replace(pin, glibc="9.0"), python=PYTHON)
