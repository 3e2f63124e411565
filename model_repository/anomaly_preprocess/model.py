"""Refuses series that the network cannot score; lets the others pass as they are."""

from modelport.serving.python_model import answer_each
from modelport.serving.series import Check

# The network's window is 32 points long.
CHECK = Check(shortest=32)


class TritonPythonModel:
    """Triton's entry point."""

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, CHECK)
