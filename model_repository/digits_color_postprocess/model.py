"""Scores to a label and probabilities."""

from modelport.serving.classes import Softmax
from modelport.serving.python_model import answer_each, version_folder


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the class names, which follow the data that the network was trained on."""
        self.answer = Softmax.from_file(version_folder(args) / "labels.txt")

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
