"""Adds one."""


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]
