"""A colour image or raw pixels to 32 × 32: the function that training used."""

from modelport.serving import photographs
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    """Triton's entry point."""

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, photographs.thumbnails)
