"""An image file or raw pixels to a centred glyph: the function that training used."""

from modelport.serving import glyphs
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    """Triton's entry point."""

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, glyphs.digits)
