"""The python-based `tensorrt` backend: what Triton must find here, and nothing more.

It is used only by a tritonserver without NVIDIA's own. The logic is `modelport.serving.tensorrt`.
"""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils

from modelport.serving.onnx import environment
from modelport.serving.onnx.execution import Executor
from modelport.serving.tensorrt import engine, validation


class TritonPythonModel:
    """One instance of a plan."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Leave a configuration as it is: that of a plan is written whole when it is built."""
        return auto_complete_model_config

    def initialize(self, args):
        """Open the engine and check it against the configuration; raises to fail the load."""
        environment.require_numpy_1()
        config = json.loads(args["model_config"])
        version_dir = Path(args["model_repository"]) / args["model_version"]
        path = engine.plan_path(version_dir, config.get("default_model_filename", ""))
        self._engine = engine.open_engine(path)
        validation.check(config, self._engine.graph)
        self._executor = Executor(pb_utils, config, self._engine.graph, self._engine.run)

    def execute(self, requests):
        """Answer a batch of requests, one response each."""
        return self._executor.execute(requests)

    def finalize(self):
        """Release the engine and its memory."""
        self._engine.close()
        self._engine = self._executor = None
