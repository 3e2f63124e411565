"""The python-based `onnxruntime` backend: what Triton must find here, and nothing more.

Triton runs one process per model instance, imports this file there, and calls
`auto_complete_config` (in a process of its own) and then `initialize`,
`execute` and `finalize`. The logic is `modelport.serving.onnx`.
"""

import gc
import json
import logging
from pathlib import Path

import triton_python_backend_utils as pb_utils

from modelport.serving.onnx import completion, environment, server, session, settings, validation
from modelport.serving.onnx.execution import Executor
from modelport.serving.onnx.graph import Graph


class TritonPythonModel:
    """One instance of an ONNX model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Fill in what config.pbtxt leaves out; called only with auto-completion on."""
        environment.require_numpy_1()
        config = auto_complete_model_config.as_dict()
        if completion.is_complete(config):
            return auto_complete_model_config
        options = server.backend_options(server.parent_command_line())
        filename = config.get("default_model_filename", "")
        opened = session.open_session(
            session.model_path(_version_dir(pb_utils.get_model_dir(), filename), filename),
            settings.read(config, options),
        )
        completion.complete(
            config,
            Graph.of(opened),
            default_max_batch_size=settings.default_max_batch_size(options),
        )
        return auto_complete_model_config

    def initialize(self, args):
        """Open the session and check it against the configuration; raises to fail the load."""
        environment.require_numpy_1()
        _log_to_triton(args["model_instance_name"])
        config = json.loads(args["model_config"])
        chosen = settings.read(config, server.backend_options(server.parent_command_line()))
        version_dir = Path(args["model_repository"]) / args["model_version"]
        path = session.model_path(version_dir, config.get("default_model_filename", ""))
        self._session = session.open_session(path, chosen)
        graph = Graph.of(self._session)
        validation.check(config, graph)
        run = session.runner(self._session, graph, session.run_options(chosen))
        self._executor = Executor(pb_utils, config, graph, run)

    def execute(self, requests):
        """Answer a batch of requests, one response each."""
        return self._executor.execute(requests)

    def finalize(self):
        """Release the session, its threads and its memory."""
        self._executor = self._session = None
        gc.collect()


def _version_dir(model_dir, filename):
    """Return the version folder: Triton gives the folder of the model file, which may be deeper."""
    return Path(model_dir).joinpath(*[".." for _ in Path(filename).parts[:-1]])


class _TritonLog(logging.Handler):
    """Writes Python's log records into Triton's log."""

    def __init__(self, instance):
        super().__init__()
        self._instance = instance

    def emit(self, record):
        """Write one record at Triton's nearest level."""
        text = f"{self._instance}: {record.getMessage()}"
        if record.levelno >= logging.ERROR:
            pb_utils.Logger.log_error(text)
        elif record.levelno >= logging.WARNING:
            pb_utils.Logger.log_warn(text)
        else:
            pb_utils.Logger.log_info(text)


def _log_to_triton(instance):
    logger = logging.getLogger("modelport")
    logger.addHandler(_TritonLog(instance))
    logger.setLevel(logging.INFO)
