"""A review to a title: the loop around the encoder and the decoder."""

from functools import partial

from modelport.serving import bls, generation
from modelport.serving.python_model import answer_each, version_folder
from modelport.serving.seq2seq import Seq2Seq


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the tokenizer and the settings beside this file."""
        written = Seq2Seq.from_folder(version_folder(args), "summarizer", output="title")
        self.answer = partial(written, call=bls.caller(args))

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer, parameters=generation.refuse_parameters)
