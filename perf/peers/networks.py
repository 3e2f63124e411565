"""The four ONNX models that every server serves, what they are asked, and what is right."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.errors import ModelportError
from modelport.repository.layout import Repository
from modelport.runtime import cache

QUESTIONS = 16
"""Different inputs for each model: requests that meet in a batch then differ, so that a server
that hands answers to the wrong callers is found out."""
TOKENS = 128
_DATATYPES = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}


@dataclass(frozen=True)
class Network:
    """One of the models.

    Attributes:
        name: short, for the command line.
        title: for people.
        folder: of the repository that holds the built model; empty for ResNet-18, made here.
        inputs: names; all have the same datatype and shape.
        output: the one that is asked for.
        datatype: of the inputs, as the Open Inference Protocol spells it.
        shape: of one item.
        below: inputs are drawn from 0 to this, where they are whole numbers.
        slice_s: how long one turn takes; a slow model needs longer for as many replies.
    """

    name: str
    title: str
    folder: str
    inputs: tuple[str, ...]
    output: str
    datatype: str
    shape: tuple[int, ...]
    below: int = 0
    slice_s: float = 2.0

    @property
    def dtype(self) -> np.dtype:
        """The datatype for numpy."""
        return np.dtype(_DATATYPES[self.datatype])

    def questions(self) -> list[dict[str, np.ndarray]]:
        """Make the inputs, batch 1, the same every time."""
        random = np.random.default_rng(7)
        return [self._question(random) for _ in range(QUESTIONS)]

    def _question(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (1, *self.shape)
        if not self.below:
            return {name: random.random(shape, np.float32) for name in self.inputs}
        first = random.integers(1, self.below, shape).astype(self.dtype)
        # The second input of the text models is the mask: every token counts.
        return {self.inputs[0]: first, **{n: np.ones(shape, self.dtype) for n in self.inputs[1:]}}


NETWORKS: Mapping[str, Network] = {
    one.name: one
    for one in (
        Network("cnn", "small CNN", "digits_cnn", ("glyph",), "logits", "FP32", (1, 28, 28)),
        Network(
            "lstm",
            f"LSTM, {TOKENS} steps",
            "sentiment_lstm",
            ("input_ids", "attention_mask"),
            "logits",
            "INT64",
            (TOKENS,),
            below=8000,
        ),
        Network(
            "resnet18",
            "ResNet-18",
            "",
            ("crop",),
            "logits",
            "UINT8",
            (224, 224, 3),
            below=256,
            slice_s=3.0,
        ),
        Network(
            "minilm",
            f"MiniLM, {TOKENS} tokens",
            "embedder_encoder",
            ("input_ids", "attention_mask"),
            "vector",
            "INT64",
            (TOKENS,),
            below=20_000,
            slice_s=3.0,
        ),
    )
}


def file(network: Network, repository: Path) -> Path:
    """Give the ONNX file of a model: the version that serves, or ResNet-18, made once.

    Raises:
        ModelportError: the model is not built.
    """
    if not network.folder:
        return _resnet18()
    folder = Repository(repository).model(network.folder)
    versions = folder.proven_versions()
    if not versions:
        raise ModelportError(
            f"{network.folder} is not built in {repository}",
            next_step=f"modelport build {network.folder.partition('_')[0]}",
        )
    return folder.version_dir(folder.served_versions()[-1]) / "model.onnx"


def _resnet18() -> Path:
    place = cache.folder("peers", "models") / "resnet18-seed0.onnx"
    if not place.exists():
        import graphs

        folder = cache.folder("peers", "models", "making")
        graphs.resnet18(folder).replace(place)
        shutil.rmtree(folder)
    return place


def answers(network: Network, path: Path) -> list[np.ndarray]:
    """Give what bare ONNX Runtime answers each question with, alone: what is right."""
    session = session_on(path, threads=1)
    return [session.run([network.output], feeds)[0] for feeds in network.questions()]


def session_on(path: Path, threads: int) -> Any:
    """Open a session as every server does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def is_right(answer: np.ndarray, expected: np.ndarray) -> bool:
    """Compare; other batch sizes take other sums, which moves float32 a little."""
    return answer.shape == expected.shape and bool(
        np.allclose(
            answer, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(expected).max()))
        )
    )
