"""Models that call others, read files, answer with streams, or remember: each proven as it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from workplace import Workplace

from modelport.client import Client
from modelport.errors import BuilderError, ParityError
from modelport.runtime.server import Server

BUILDER = """\
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelport.build import Dataset
from modelport.spec import *

WORDS = LocalFile("words.json", licence="CC0")
NUMBER = Tensor("number", "INT32", (1,))


class Both(nn.Module):
    "Two maps that are trained as one: up, then down."
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.down(self.up(x))


def sums():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    return Dataset.split({"x": x, "name": np.full(200, "row", object)}, x.sum(1, keepdims=True),
                         stratify=False)


def error(outputs, targets):
    return {"mse": float(((outputs - targets) ** 2).mean())}


def always_zero(dataset):
    return error(np.zeros_like(dataset.test.targets), dataset.test.targets)


X, HIDDEN, Y = Tensor("x", "FP32", (2,)), Tensor("hidden", "FP32", (4,)), Tensor("y", "FP32", (1,))


def through_both(inputs, call):
    hidden = call("up", {"x": inputs["x"]})["hidden"]
    return call("down", {"hidden": hidden})


def points():
    return [Sample({"x": np.array([n, 1], np.float32)}) for n in range(4)]


class Spell:
    def __init__(self, words):
        self.words = words

    @classmethod
    def load(cls, folder):
        return cls(json.loads((Path(folder) / "words.json").read_text()))

    def __call__(self, inputs):
        words = [self.words[int(n)].encode() for n in inputs["number"].ravel()]
        return {"word": np.array(words, object).reshape(-1, 1)}


def words(path):
    return {"words.json": path, "count.txt": str(len(json.loads(path.read_text()))).encode()}


def numbers():
    return [Sample({"number": np.array([n], np.int32)}) for n in range(3)]


def count(inputs):
    for row in inputs["number"]:
        for n in range(int(row[0])):
            yield {"number": np.array([[n]], np.int32)}


def totals(inputs):
    return {"total": np.cumsum(inputs["number"], axis=0).astype(np.int32)}


def walks():
    random = np.random.default_rng(1)
    return [Sample({"number": random.integers(0, 99, (n, 1)).astype(np.int32)}) for n in (1, 5, 9)]


models = (
    PythonModel(name="both", inputs=(X,), outputs=(Y,), reference=through_both,
                calls=("up", "down"), samples=points),
    TorchModel(name="up", inputs=(X,), outputs=(HIDDEN,), network=Both, part=lambda both: both.up,
               data=sums, evaluate=error, baselines={"always 0": always_zero},
               training=Training(epochs=30, loss="mse", learning_rate=0.05),
               gates=(Gate("mse", at_most=0.01),)),
    TorchModel(name="down", inputs=(HIDDEN,), outputs=(Y,), weights_of="up",
               part=lambda both: both.down),
    PythonModel(name="spell", inputs=(NUMBER,), outputs=(Tensor("word", "BYTES", (1,)),),
                load=Spell.load, files=words, sources=(WORDS,), samples=lambda path: numbers()),
    PythonModel(name="count", inputs=(NUMBER,), outputs=(NUMBER,), reference=count, decoupled=True,
                samples=numbers, max_batch_size=1),
    PythonModel(name="total", inputs=(NUMBER,), outputs=(Tensor("total", "INT32", (1,)),),
                reference=totals, samples=walks, max_batch_size=8,
                sequence=ModelSequenceBatching(oldest=StrategyOldest(max_candidate_sequences=16))),
)
"""

CALLS = """\
import triton_python_backend_utils as pb_utils
from modelport.serving.python_model import answer_each


def call(name, inputs):
    tensors = [pb_utils.Tensor(n, a) for n, a in inputs.items()]
    outputs = {"up": ["hidden"], "down": ["y"]}[name]
    reply = pb_utils.InferenceRequest(
        model_name=name, inputs=tensors, requested_output_names=outputs).exec()
    return {t.name(): t.as_numpy() for t in reply.output_tensors()}


def through_both(inputs):
    return call("down", {"hidden": call("up", {"x": inputs["x"]})["hidden"]})


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, through_both)
"""

SPELLS = """\
import json
import numpy as np
from modelport.serving.python_model import answer_each, version_folder


class TritonPythonModel:
    def initialize(self, args):
        self.words = json.loads((version_folder(args) / "words.json").read_text())

    def execute(self, requests):
        return answer_each(requests, self.spell)

    def spell(self, inputs):
        words = [self.words[int(n)].encode() for n in inputs["number"].ravel()]
        return {"word": np.array(words, object).reshape(-1, 1)}
"""

COUNTS = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            upto = pb_utils.get_input_tensor_by_name(request, "number").as_numpy()[0, 0]
            for n in range(FIRST, int(upto)):
                tensor = pb_utils.Tensor("number", np.array([[n]], np.int32))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

REMEMBERS = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.totals = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        key = KEY
        if request.flags() & 1:
            self.totals[key] = 0
        x = pb_utils.get_input_tensor_by_name(request, "number").as_numpy()
        self.totals[key] = self.totals[key] + x
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("total", self.totals[key].astype(np.int32))])
"""


def furnish(
    workplace: Workplace, *, first: str = "0", key: str = "request.correlation_id()"
) -> None:
    workplace.builder("kinds", BUILDER)
    (workplace.builders / "words.json").write_text(json.dumps(["zero", "one", "two"]))
    workplace.code("both", CALLS)
    workplace.code("spell", SPELLS)
    workplace.code("count", COUNTS.replace("FIRST", first))
    workplace.code("total", REMEMBERS.replace("KEY", key))


def test_each_kind_is_built_proven_and_served(workplace: Workplace) -> None:
    furnish(workplace)
    built = {b.model: b.version for b in workplace.build()}
    assert built == dict.fromkeys(("both", "up", "down", "spell", "count", "total"), 1)
    assert "up: train" in workplace.steps()
    assert "down: train" not in workplace.steps(), "both parts are of one trained network"

    manifest = workplace.model("up").manifest(1)
    assert manifest.metrics is not None
    assert manifest.metrics.baselines["always 0"]["mse"] > manifest.metrics.values["mse"]
    assert not manifest.public
    assert workplace.model("both").manifest(1).public
    assert workplace.model("both").manifest(1).runs == ["down", "up"]
    assert workplace.model("count").manifest(1).proof.through_server.transports == ["grpc"]
    spell = workplace.model("spell")
    assert (spell.version_dir(1) / "count.txt").read_text() == "3"
    assert {file.path for file in spell.manifest(1).files} == {
        "config.pbtxt", "environment.json", "model.py", "words.json", "count.txt", "samples.json"
    }  # fmt: skip

    with Server.start(workplace.repository, models=["both", "spell", "count", "total"]) as server:
        assert server.plan.models.keys() >= {"up", "down"}, "what a model calls is loaded with it"
        with Client(server.endpoints.grpc) as client:
            y = client.infer("both", {"x": [[3.0, 4.0]]})["y"]
            assert abs(y.item() - 7) < 0.5
            assert client.infer("spell", {"number": 2})["word"].item() == b"two"
            counted = client.stream("count", {"number": [[4]]})
            assert [response["number"].item() for response in counted] == [0, 1, 2, 3]

    assert workplace.build() == [type(b)(b.model, b.version, False) for b in workplace.build()]
    assert workplace.steps() == []


def test_a_stream_that_misses_a_response_is_found(workplace: Workplace) -> None:
    furnish(workplace, first="1")
    with pytest.raises(ParityError, match="model 'count'"):
        workplace.build()


def test_sequences_that_mix_are_found(workplace: Workplace) -> None:
    furnish(workplace, key="0")
    with pytest.raises(ParityError, match="model 'total'"):
        workplace.build()


def test_a_call_of_a_model_that_is_not_declared_as_called(workplace: Workplace) -> None:
    furnish(workplace)
    workplace.builder("kinds", BUILDER.replace('calls=("up", "down")', 'calls=("up",)'))
    with pytest.raises(BuilderError, match="calls 'down', which is not among its `calls`"):
        workplace.build()


def test_own_data_takes_the_place_of_the_first_source(workplace: Workplace) -> None:
    furnish(workplace)
    workplace.build()
    own = workplace.path / "mine.json"
    own.write_text(json.dumps(["null", "eins", "zwei", "drei"]))
    built = {b.model: b for b in workplace.build("kinds", data=own)}
    assert built["spell"].new
    assert not built["both"].new
    spell, version = workplace.model("spell"), built["spell"].version
    assert json.loads((spell.version_dir(version) / "words.json").read_text())[3] == "drei"
    assert str(own) in spell.manifest(version).data[0].source
    back = {b.model: b for b in workplace.build()}
    assert back["spell"].new, "without --data the builder file's own data counts again"


def test_a_called_model_gets_arrays_and_gives_arrays(workplace: Workplace) -> None:
    """The reference of a model that calls others runs their references, in batches."""
    furnish(workplace)
    workplace.build("kinds")
    with (
        Server.start(workplace.repository, models=["both"]) as server,
        Client(server.endpoints.http) as client,
    ):
        x = np.random.default_rng(5).normal(size=(7, 2)).astype(np.float32)
        whole = client.infer("both", {"x": x})["y"]
        alone = np.concatenate([client.infer("both", {"x": row[np.newaxis]})["y"] for row in x])
    np.testing.assert_allclose(whole, alone, atol=1e-6)
