"""KServe's model server and ONNX Runtime."""

import os
from functools import cached_property

import onnxruntime
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer


class Network(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    @cached_property  # workers get the model pickled, and a session cannot be
    def session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        return onnxruntime.InferenceSession(os.environ["MODEL"], options)

    async def predict(self, payload: InferRequest, *_: object, **__: object) -> InferResponse:
        inputs: list[InferInput] = payload.inputs
        name = self.session.get_outputs()[0].name
        [answer] = self.session.run([name], {one.name: one.as_numpy() for one in inputs})
        output = InferOutput(name, list(answer.shape), "FP32")
        output.set_data_from_numpy(answer, binary_data=True)
        return InferResponse(payload.id or "", self.name, [output], use_binary_outputs=True)


def main() -> None:
    ModelServer().start([Network("model")])


if __name__ == "__main__":
    main()
