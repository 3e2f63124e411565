"""Starts a Ray of one machine and the application on it; ends with SIGTERM."""

import importlib
import os
import signal

import ray
from ray import serve

ray.init(
    num_cpus=int(os.environ["CORES"]),
    include_dashboard=False,
    _temp_dir=os.environ["RAY_FOLDER"],
    log_to_driver=False,
)
serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
serve.run(importlib.import_module(os.environ["APP"]).app, route_prefix="/")
signal.sigwait({signal.SIGTERM})
