class TritonPythonModel:
    def execute(self, requests):
        if requests:
            return [self.answer(request) for request in requests]
