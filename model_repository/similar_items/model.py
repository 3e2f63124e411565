"""Looks items up by name, and finds the ones that the same users rated."""

from functools import partial

from modelport.serving import bls
from modelport.serving.python_model import answer_each, version_folder
from modelport.serving.recommendation import SimilarItems


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the table that lies beside this file."""
        similar = SimilarItems.from_folder(version_folder(args))
        self.answer = partial(similar, call=bls.caller(args))

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
