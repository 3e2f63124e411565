# modelport: ignore MP503 the sender in streaming.answer gives the replies
"""Adds one."""


class TritonPythonModel:
    def execute(self, requests):
        streaming.answer(requests)
