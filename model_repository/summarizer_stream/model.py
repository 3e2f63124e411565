"""A review to a title, one response per token."""

from functools import partial

from modelport.serving import bls, generation
from modelport.serving.python_model import version_folder
from modelport.serving.seq2seq import Seq2Seq
from modelport.serving.streaming import Streams


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the tokenizer and the settings beside this file."""
        written = Seq2Seq.from_folder(version_folder(args), "summarizer", output="title")
        answer = partial(written.stream, call=bls.caller(args))
        self.streams = Streams(answer, parameters=generation.refuse_parameters)

    def execute(self, requests):
        """Begin a stream for each request."""
        self.streams.answer_each(requests)

    def finalize(self):
        """End the streams that still run."""
        self.streams.finalize()
