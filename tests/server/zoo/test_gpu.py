"""perf/gpu.py as far as it runs without a GPU: against the real server on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.repository.layout import Repository
from modelport.runtime.server import Server

SCRIPT = Path(__file__).parents[3] / "perf" / "gpu.py"
MODEL = ["--models", "digits_cnn"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_the_networks_are_prepared_asked_and_measured(
    repository: Repository, tmp_path: Path
) -> None:
    models, built = str(tmp_path / "models"), ["--repository", str(repository.path)]
    done = run("prepare", models, "--kind", "cpu", "--max-batch-size", "16", *MODEL, *built)
    assert done.returncode == 0, done.stderr
    with Server.start(Path(models)) as server:
        done = run(
            *("measure", server.endpoints.grpc, "--batches", "1,16", "--seconds", "0.1"),
            *("--limit-tflops", "2", "--json", *MODEL, *built),
        )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["batch"] for row in rows] == [1, 16]
    for row in rows:
        assert row["cosine"] > 0.9999
        assert row["items_per_second"] > 0
        share = row["items_per_second"] * row["gflop_per_item"] / 2000
        assert row["share_of_limit"] == pytest.approx(share, rel=0.05)
    # 28 × 28 × 9 products for each of the first layer's channels are among them.
    assert rows[0]["gflop_per_item"] > 28 * 28 * 9 * 2 / 1e9


def test_a_plan_without_tensorrt_is_one_sentence(repository: Repository, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    built = ["--repository", str(repository.path)]
    done = run("prepare", str(tmp_path / "models"), "--plan", *MODEL, *built)
    assert done.returncode == 3
    assert done.stderr.startswith("error: TensorRT is not installed here")
    assert "Traceback" not in done.stderr
