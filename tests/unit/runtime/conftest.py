"""A cache of the test's own, and a small wheel that is laid out as the real one."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from modelport.runtime.pins import WheelPin

FILE = "tiny_triton-1.0-py3-none-any.whl"
SERVER = "pytriton/tritonserver/bin/tritonserver"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MODELPORT_CACHE", str(folder))
    return folder


@pytest.fixture
def wheel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel folder as a machine without network has it; pip knows no index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    write_wheel(folder / FILE)
    return folder


@pytest.fixture
def pin(wheel_folder: Path) -> WheelPin:
    content = (wheel_folder / FILE).read_bytes()
    return WheelPin(
        wheel="tiny-triton",
        version="1.0",
        file=FILE,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        glibc="2.17",
        program=SERVER,
        keeps=("pytriton/tritonserver/",),
        release="0.0.1",
    )


def write_wheel(path: Path) -> None:
    """Write a wheel that pip accepts, with one program in it and one file that nobody needs."""
    info = "tiny_triton-1.0.dist-info"
    files = {
        SERVER: b"#!/bin/sh\n",
        "pytriton/client.py": b"",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-triton\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name == SERVER else 0o100644) << 16
            archive.writestr(entry, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
