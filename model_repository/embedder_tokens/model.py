"""A text to the numbers of its word pieces, as the encoder was trained on them."""

from modelport.serving.python_model import answer_each, version_folder
from modelport.serving.text import Tokens


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the tokenizer that lies beside this file."""
        self.answer = Tokens.from_folder(version_folder(args))

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
