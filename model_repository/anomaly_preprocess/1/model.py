"""Refuses series that the network cannot score; lets the others pass as they are."""

from modelport.serving.python_model import answer_each
from modelport.serving.series import Check

WINDOW = 32


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Know the length of the network's windows."""
        self.check = Check(shortest=WINDOW)

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.check)
