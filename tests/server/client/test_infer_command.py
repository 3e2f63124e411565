"""`modelport infer` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelport.runtime.server import Server


def infer(url: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "modelport.cli", "infer", *arguments],
        capture_output=True,
        input=stdin,
        env={**os.environ, "MODELPORT_URL": url},
        timeout=60,
    )


def test_a_table(url: str) -> None:
    done = infer(url, "scale", "--input", "x=[1, 2, 3, 4]", "-i", "offset=0.125")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.decode().splitlines() if "FP32" in line]
    assert rows[0] == ["y", "FP32", "1", "×", "4", "2.125,", "4.125,", "6.125,", "8.125"]
    assert rows[1] == ["total", "FP32", "1", "×", "1", "20.5"]


def test_json_from_a_numpy_file(url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(8, dtype=np.float32).reshape(2, 4))
    done = infer(url, "scale", "-i", f"x=@{tmp_path / 'x.npy'}", "-o", "total", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "model": "scale",
        "outputs": {"total": {"datatype": "FP32", "shape": [2, 1], "data": [[12.0], [44.0]]}},
    }


@pytest.mark.parametrize(
    ("value", "stdin", "data"),
    [
        ("a = [b", b"", [["A = [B"]]),
        ("[not json", b"", [["[NOT JSON"]]),
        ('["a", "b"]', b"", [["A"], ["B"]]),
        ("@-", b"piped", [["PIPED"]]),
        ("@-", b"\xff", [["/w=="]]),
    ],
)
def test_text(url: str, value: str, stdin: bytes, data: list[list[str]]) -> None:
    done = infer(url, "upper", "-i", f"text={value}", "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    loud = json.loads(done.stdout)["outputs"]["loud"]
    assert loud["data"] == data
    assert loud.get("encoding") == ("base64" if stdin == b"\xff" else None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["scale", "-i", "x=@missing.npy"], 41, "cannot read 'missing.npy'"),
        (["scale", "-i", f"x=@{__file__}"], 41, "neither .npy nor .json"),
        (["scale", "-i", "x=abc"], 41, "is not JSON"),
        (["scale", "-i", 'x=["a"]'], 41, "expected FP32, got <U1 (text)"),
        (["scale", "-i", "x=[1, 2]"], 41, "expected [-1, 4], got [2]"),
        (["scale", "-i", "x"], 41, "is not NAME=VALUE"),
        (["scale", "-i", "x=1", "-i", "x=2"], 41, "given twice"),
        (["scale"], 41, "lacks 'x'"),
        (["upper", "-i", "txt=a"], 41, "did you mean 'text'?"),
        (["scal", "-i", "x=1"], 43, "no model 'scal'"),
        (["sleepy", "-i", "seconds=2", "--timeout", "0.5"], 46, "within 0.5 s"),
        (["fussy", "-i", "how=fault"], 47, "the model tripped"),
        (["scale", "--url", "ftp://h:1"], 40, "unknown scheme"),
    ],
)
def test_mistakes_get_one_message_and_their_exit_code(
    url: str, arguments: list[str], code: int, said: str
) -> None:
    done = infer(url, *arguments)
    assert done.returncode == code
    assert done.stdout == b""
    message = done.stderr.decode()
    assert said in message
    assert message.startswith("error: ")
    assert "Traceback" not in message


def test_a_pickle_is_not_loaded(url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    done = infer(url, "scale", "-i", f"x=@{tmp_path / 'x.npy'}")
    assert done.returncode == 41
    assert "cannot be read as .npy" in done.stderr.decode()


def test_no_server(tmp_path: Path) -> None:
    done = infer("http://127.0.0.1:9", "scale", "-i", "x=1")
    assert done.returncode == 42
    assert "modelport serve" in done.stderr.decode()


def test_a_stream_is_shown_as_it_comes(url: str) -> None:
    done = infer(url, "stream", "-i", "count=[3]")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert lines == [["1", "number", "0"], ["2", "number", "1"], ["3", "number", "2"]]


def test_a_stream_as_json_lines(server: Server) -> None:
    done = infer(server.endpoints.grpc, "stream", "-i", "count=[2]", "--json")
    responses = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["outputs"]["number"]["data"] for r in responses] == [[0], [1]]
