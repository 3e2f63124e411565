from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelport.serving.onnx.server import backend_options, parent_command_line


def test_options_of_this_backend_only():
    arguments = [
        "tritonserver",
        "--backend-config=python,shm-region-prefix-name=x",
        "--backend-config=onnxruntime,default-max-batch-size=8",
        "--backend-config",
        "onnxruntime,enable-global-threadpool=1",
        "--backend-config=onnxruntime,broken",
        "--log-verbose=1",
    ]
    assert backend_options(arguments) == {
        "default-max-batch-size": "8",
        "enable-global-threadpool": "1",
    }


def test_no_options():
    assert backend_options([]) == {}


def test_parents_command_line_is_read_from_a_child():
    code = "from modelport.serving.onnx.server import *; print(*parent_command_line(), sep='\\n')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = Path(f"/proc/{os.getpid()}/cmdline").read_text()
    assert child.stdout.split("\n")[0] == own.split("\0")[0]
    assert parent_command_line()
