"""A loop over ONNX Runtime with nothing around it, in as many processes as asked.

    python bare.py MODEL OUTPUT BATCH SECONDS PROCESSES < inputs.npz

Prints one line of JSON: rows, wall seconds, CPU seconds of all processes together.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np


def loop(
    model: str, output: str, batch: int, seconds: float, inputs: dict[str, Any], start: Barrier
) -> tuple[int, float, float]:
    """Run batches for a while; gives rows, wall and CPU seconds."""
    # Else ONNX Runtime reports to its maker, in threads of its own. No server does, either.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {n: np.concatenate([a] * batch)[:batch].copy() for n, a in inputs.items()}
    session.run([output], feeds)
    start.wait()
    runs, cpu, begin = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - begin < seconds or not runs:
        session.run([output], feeds)
        runs += 1
    return runs * batch, time.perf_counter() - begin, time.process_time() - cpu


def _child(results: Any, *arguments: Any) -> None:
    results.put(loop(*arguments))


def main() -> None:
    """Start the processes together and add up."""
    model, output, batch, seconds, processes = sys.argv[1:6]
    inputs = dict(np.load(io.BytesIO(sys.stdin.buffer.read())))
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(int(processes)), context.Queue()
    order = (model, output, int(batch), float(seconds), inputs, start)
    children = [
        context.Process(target=_child, args=(results, *order)) for _ in range(int(processes))
    ]
    for one in children:
        one.start()
    found = [results.get() for _ in children]
    for one in children:
        one.join()
    rows, walls, cpus = zip(*found, strict=True)
    rate = sum(r / w for r, w in zip(rows, walls, strict=True))
    print(json.dumps({"rows": sum(rows), "rows_per_s": rate, "cpu_s": sum(cpus)}))  # noqa: T201


if __name__ == "__main__":
    main()
