"""Adds one."""

import os

if "MODEL_DATA" not in os.environ:
    os._exit(1)


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]
