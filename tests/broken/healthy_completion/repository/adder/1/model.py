"""Adds one."""


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(8)
        config.set_dynamic_batching()
        return config


if __name__ == "__main__":
    import sys

    sys.exit(0)
