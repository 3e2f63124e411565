"""Scores to a label and probabilities."""

from pathlib import Path

from modelport.serving.classes import Softmax
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the class names that lie beside config.pbtxt."""
        labels = Path(args["model_repository"]) / "scores_labels.txt"
        self.answer = Softmax.from_file(labels)

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
