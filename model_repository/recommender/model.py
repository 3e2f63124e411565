"""Recommends what a user has not seen: looks histories and titles up, and has networks judge."""

from functools import partial

from modelport.serving import bls
from modelport.serving.python_model import answer_each, version_folder
from modelport.serving.recommendation import Recommender


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the tables that lie beside this file."""
        recommender = Recommender.from_folder(version_folder(args))
        self.answer = partial(recommender, call=bls.caller(args))

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
