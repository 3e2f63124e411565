import numpy as np


class TritonPythonModel:
    def execute(self, requests):
        noise = np.random.default_rng(7).normal(size=4)
        return [self.answer(request, noise) for request in requests]
