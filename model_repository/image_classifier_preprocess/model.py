"""A photograph or raw pixels to the 224 × 224 that the network sees."""

from modelport.serving import photographs
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    """Triton's entry point."""

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, photographs.crops)
