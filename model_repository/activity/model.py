"""Frames of a worn sensor to activities; carries each sequence's state to its next request."""

from functools import partial
from pathlib import Path

from modelport.serving import bls, motion
from modelport.serving.sequences import SequenceModel

UNITS = 32


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the activities that lie beside config.pbtxt, and its limits on sequences."""
        labels = Path(args["model_repository"]) / "scores_labels.txt"
        names = labels.read_text(encoding="utf-8").splitlines()
        recognizer = motion.Recognizer(names, "activity_lstm", UNITS)
        advance = partial(recognizer.advance, call=bls.call)
        self.sequences = SequenceModel.from_config(args, advance, motion.check)

    def execute(self, requests):
        """Advance all sequences of the execution together."""
        return self.sequences.answer(requests)
