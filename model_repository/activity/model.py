"""Frames of a worn sensor to activities; carries each sequence's state to its next request."""

from functools import partial

from modelport.serving import bls, motion
from modelport.serving.python_model import version_folder
from modelport.serving.sequences import SequenceModel

UNITS = 32


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the activities that lie beside this file, and the limits on sequences."""
        labels = version_folder(args) / "scores_labels.txt"
        names = labels.read_text(encoding="utf-8").splitlines()
        recognizer = motion.Recognizer(names, "activity_lstm", UNITS)
        advance = partial(recognizer.advance, call=bls.caller(args))
        self.sequences = SequenceModel.from_config(args, advance, motion.check)

    def execute(self, requests):
        """Advance all sequences of the execution together."""
        return self.sequences.answer(requests)
