"""Numbers of the best classes to their names."""

from modelport.serving.classes import Names
from modelport.serving.python_model import answer_each, version_folder


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args):
        """Read the class names that lie beside this file."""
        self.answer = Names.from_folder(version_folder(args))

    def execute(self, requests):
        """Answer each request of a batch on its own."""
        return answer_each(requests, self.answer)
