"""A message to its answer, one response per token."""

from modelport.serving import generation
from modelport.serving.causal import Chat
from modelport.serving.python_model import version_folder
from modelport.serving.streaming import Streams

# Each stream keeps a cache of up to 92 MiB; more streams than this wait their turn.
MOST_STREAMS = 32


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Load the decoder, the tokenizer and the settings beside this file."""
        chat = Chat(version_folder(args))
        self.streams = Streams(chat, parameters=generation.refuse_parameters, most=MOST_STREAMS)

    def execute(self, requests):
        """Begin a stream for each request."""
        self.streams.answer_each(requests)

    def finalize(self):
        """End the streams that still run."""
        self.streams.finalize()
