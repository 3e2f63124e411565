"""The pins are complete, and lists of packages can be installed anywhere."""

from __future__ import annotations

import re

import pytest

from modelport.errors import ToolchainError
from modelport.runtime import pins


def test_the_wheel_is_pinned() -> None:
    pin = pins.load(pins.DATA / "toolchain.toml", "x86_64")
    assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
    assert pin.version in pin.file
    assert {"3.10", "3.11", "3.12"} <= set(pin.python)


def test_another_processor_is_told_what_to_do() -> None:
    with pytest.raises(ToolchainError, match="'riscv64', only for x86_64") as caught:
        pins.load(pins.DATA / "toolchain.toml", "riscv64")
    assert "MODELPORT_TRITONSERVER" in str(caught.value)


def test_the_list_is_locked_with_hashes_and_names_no_place() -> None:
    text = pins.REQUIREMENTS.read_text()
    assert "numpy==1.26.4 " in text
    assert not re.search(r"https?:|file:|--index|--find-links", text)
    for entry in re.findall(r"^[a-z](?:.*\\\n)*.*", text, flags=re.MULTILINE):
        assert "--hash=sha256:" in entry, entry
