"""Llama networks from GGUF files: as torch, and as an ONNX graph with the file's own numbers.

A GGUF file of the type Q4_1 holds 4-bit numbers in blocks of 32, each with a scale
and a minimum. The graph takes them as they are: no weight is rounded a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from modelport.errors import DataError

_BLOCK = 32
_CONTROL_TOKEN = 3
# The number of 4 bits that stands for 0 where no other is said.
_MIDDLE = 8
_OPSET, _CONTRIB = 20, "com.microsoft"
# Products of float32 activations. With 8-bit ones (4) a token comes a third quicker, but close
# choices tip: asked for the capital of France, SmolLM2 then answers something else.
_FLOAT32_PRODUCTS = 1


@dataclass(frozen=True)
class Blocks:
    """A weight ``[rows, columns]`` as whole numbers: ``scale * number + minimum`` per block.

    Attributes:
        numbers: uint8[rows, blocks, 32].
        scale: float32[rows, blocks].
        minimum: float32[rows, blocks].
        bits: 4 or 8, of a number.
    """

    numbers: np.ndarray
    scale: np.ndarray
    minimum: np.ndarray
    bits: int

    def values(self) -> np.ndarray:
        """Give the weight itself, float32[rows, columns]."""
        whole = self.numbers * self.scale[..., None] + self.minimum[..., None]
        return np.asarray(whole.reshape(len(whole), -1), np.float32)

    def halves(self) -> tuple[Blocks, Blocks]:
        """Give two weights of 4 bits whose sum is this one of 8."""
        high = Blocks(self.numbers >> 4, self.scale * 16, self.minimum, 4)
        return high, Blocks(self.numbers & 15, self.scale, np.zeros_like(self.minimum), 4)

    @staticmethod
    def joined(parts: Sequence[Blocks]) -> Blocks:
        """Put weights of one input below each other."""
        return Blocks(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.scale for part in parts]),
            np.concatenate([part.minimum for part in parts]),
            parts[0].bits,
        )


class LlamaFile:
    """A GGUF file with a network of the Llama family in Q4_1, embeddings in Q8_0.

    Raises:
        DataError: it is no GGUF file, or holds another architecture or type.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        try:
            self._reader = GGUFReader(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: is no GGUF file: {error}", path=path) from error
        self._path = path
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        if (kind := self.field("general.architecture")) != "llama":
            raise self._unfit(f"its architecture is {kind!r}; expected 'llama'")

    def field(self, name: str) -> Any:
        """Give one field of the file's header."""
        found = self._reader.fields.get(name)
        if found is None:
            raise self._unfit(f"its header has no {name!r}")
        return found.contents()

    @cached_property
    def config(self) -> dict[str, Any]:
        """What Hugging Face's ``LlamaConfig`` takes."""
        return {
            "vocab_size": self._tensors["token_embd.weight"].shape[1].item(),
            "hidden_size": self.field("llama.embedding_length"),
            "intermediate_size": self.field("llama.feed_forward_length"),
            "num_hidden_layers": self.field("llama.block_count"),
            "num_attention_heads": self.field("llama.attention.head_count"),
            "num_key_value_heads": self.field("llama.attention.head_count_kv"),
            "rms_norm_eps": self.field("llama.attention.layer_norm_rms_epsilon"),
            "max_position_embeddings": self.field("llama.context_length"),
            "rope_parameters": {
                "rope_theta": self.field("llama.rope.freq_base"), "rope_type": "default"
            },
            "tie_word_embeddings": "output.weight" not in self._tensors,
            "bos_token_id": self.field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self.field("tokenizer.ggml.padding_token_id"),
        }  # fmt: skip

    def plain(self, name: str) -> np.ndarray:
        """Give a float32 tensor."""
        return np.array(self._tensors[name].data, np.float32)

    def blocks(self, name: str) -> Blocks:
        """Give a quantized weight."""
        tensor = self._tensors[name]
        kind = tensor.tensor_type.name
        if kind not in ("Q4_1", "Q8_0"):
            raise self._unfit(f"{name} is of the type {kind}; expected Q4_1 or Q8_0")
        size = {"Q4_1": 4 + _BLOCK // 2, "Q8_0": 2 + _BLOCK}[kind]
        raw = np.asarray(tensor.data).reshape(int(tensor.shape[1]), -1, size)
        scale = raw[..., :2].copy().view(np.float16)[..., 0].astype(np.float32)
        if kind == "Q8_0":
            numbers = (raw[..., 2:].view(np.int8).astype(np.int16) + 128).astype(np.uint8)
            return Blocks(numbers, scale, -128 * scale, 8)
        minimum = raw[..., 2:4].copy().view(np.float16)[..., 0].astype(np.float32)
        # Low halves of the bytes are the block's first 16 numbers, high halves its last.
        numbers = np.concatenate([raw[..., 4:] & 15, raw[..., 4:] >> 4], axis=-1)
        return Blocks(numbers, scale, minimum, 4)

    def network(self) -> Any:
        """Give Hugging Face's ``LlamaForCausalLM`` with the file's weights, in float32."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        weights = {name: torch.from_numpy(array) for name, array in self._named_weights()}
        with torch.device("meta"):
            network = LlamaForCausalLM(LlamaConfig(**self.config))
        network.load_state_dict(weights, assign=True, strict=False)
        network.tie_weights()
        # What no file holds is computed anew: the frequencies of the rotary embedding.
        network.model.rotary_emb = type(network.model.rotary_emb)(network.config)
        return network.eval()  # type: ignore[no-untyped-call]

    def _named_weights(self) -> Any:
        heads = {
            "attn_q": self.config["num_attention_heads"],
            "attn_k": self.config["num_key_value_heads"],
        }
        yield "model.embed_tokens.weight", self.blocks("token_embd.weight").values()
        yield "model.norm.weight", self.plain("output_norm.weight")
        for layer in range(self.config["num_hidden_layers"]):
            ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
            yield f"{theirs}input_layernorm.weight", self.plain(f"{ours}attn_norm.weight")
            yield f"{theirs}post_attention_layernorm.weight", self.plain(f"{ours}ffn_norm.weight")
            for name, other in _LINEAR.items():
                weight = self.blocks(f"{ours}{name}.weight").values()
                if name in heads:
                    weight = _halves(weight, heads[name])
                yield f"{theirs}{other}.weight", weight

    def tokenizer(self) -> Any:
        """Give the ``tokenizers.Tokenizer`` of the file: pairs of bytes, digits one by one."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        tokens: list[str] = self.field("tokenizer.ggml.tokens")
        kinds = self.field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ")) for merge in self.field("tokenizer.ggml.merges")]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [
                AddedToken(token, special=True, normalized=False)
                for token, kind in zip(tokens, kinds, strict=True)
                if kind == _CONTROL_TOKEN
            ]
        )
        return tokenizer

    def _unfit(self, what: str) -> DataError:
        return DataError(
            f"{self._path}: {what}",
            cause="only networks of the Llama family in the type Q4_1 are read",
            next_step="give a GGUF file whose name ends in Q4_1.gguf",
            path=self._path,
        )


_LINEAR: Mapping[str, str] = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of each head as halves that rotate together; the file has them as pairs."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def onnx_graph(file: LlamaFile, *, context: int, every: bool = False) -> Any:
    """Make the ONNX graph of a decoder with a cache, its weights in 4 and 8 bits.

    ``input_ids`` int64[1, n] and per layer ``past_key_<i>``, ``past_value_<i>``
    float32[1, heads, past, size] to ``logits`` float32[1, 1, vocabulary] of the
    last position and ``key_<i>``, ``value_<i>`` of length past + n. ``seqlens_k`` int32[1]
    is past + n - 1, ``total_sequence_length`` int32 is past + n.

    Args:
        file: the network.
        context: the longest that past + n may become.
        every: give the logits of every position, float32[1, n, vocabulary].
    """
    return _Graph(file, context).build(every)


class _Graph:
    """Collects nodes and weights of the graph."""

    def __init__(self, file: LlamaFile, context: int) -> None:
        self._file = file
        self._config = file.config
        self._context = context
        self._size = self._config["hidden_size"] // self._config["num_attention_heads"]
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._names: set[str] = set()

    def build(self, every: bool) -> Any:
        """Give the ONNX model."""
        from onnx import helper

        states = self._embedded()
        for layer in range(self._config["num_hidden_layers"]):
            states = self._layer(layer, states)
        if not every:
            states = self._node("Gather", [states, self._number("last", np.array([-1]))], axis=1)
        normal = self._norm("output_norm.weight", states)
        # Only weights of 4 bits have quick kernels for float32 activations: two of them make 8.
        halves = self._file.blocks("token_embd.weight").halves()
        parts = [self._linear(f"head_{n}", half, normal) for n, half in enumerate(halves)]
        self._nodes.append(helper.make_node("Add", parts, ["logits"]))
        graph = helper.make_graph(
            self._nodes, "decoder", self._inputs(), self._outputs(every), self._weights
        )
        imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=9)

    def _layer(self, layer: int, states: str) -> str:
        ours = f"blk.{layer}."
        normal = self._norm(f"{ours}attn_norm.weight", states)
        parts = [self._file.blocks(f"{ours}attn_{name}.weight") for name in "qkv"]
        packed = self._linear(f"{ours}qkv", Blocks.joined(parts), normal)
        attended = self._attention(layer, packed)
        output = self._file.blocks(f"{ours}attn_output.weight")
        states = self._node("Add", [states, self._linear(f"{ours}out", output, attended)])
        normal = self._norm(f"{ours}ffn_norm.weight", states)
        parts = [self._file.blocks(f"{ours}ffn_{name}.weight") for name in ("gate", "up")]
        both = self._linear(f"{ours}gate_up", Blocks.joined(parts), normal)
        gate, up = self._nodes_of("Split", [both], 2, axis=-1, num_outputs=2)
        gate = self._node("Mul", [gate, self._node("Sigmoid", [gate])])
        down = self._file.blocks(f"{ours}ffn_down.weight")
        product = self._linear(f"{ours}down", down, self._node("Mul", [gate, up]))
        return self._node("Add", [states, product])

    def _attention(self, layer: int, packed: str) -> str:
        """Attend with rotary positions (Su et al. 2021) and a cache, in one node."""
        from onnx import helper

        theta = self._config["rope_parameters"]["rope_theta"]
        powers = np.arange(0, self._size, 2, dtype=np.float64) / self._size
        angles = np.arange(self._context)[:, None] / theta**powers
        cos = self._number("cos", np.cos(angles).astype(np.float32))
        sin = self._number("sin", np.sin(angles).astype(np.float32))
        past = [f"past_key_{layer}", f"past_value_{layer}"]
        output = f"attended_{layer}"
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [packed, "", "", *past, "seqlens_k", "total_sequence_length", cos, sin],
                [output, f"key_{layer}", f"value_{layer}"],
                domain=_CONTRIB,
                num_heads=self._config["num_attention_heads"],
                kv_num_heads=self._config["num_key_value_heads"],
                do_rotary=1,
                rotary_interleaved=1,  # the file keeps the pairs side by side
            )
        )
        return output

    def _linear(self, name: str, weight: Blocks, states: str) -> str:
        """Multiply by a weight in blocks.

        The node knows scales but no minima: ``scale * n + minimum`` is
        ``scale * (n - middle) + rest``, and a rest that is equal throughout a block
        multiplies the sum of the block's inputs.
        """
        rows, blocks, _ = weight.numbers.shape
        packed = weight.numbers[..., ::2] | (weight.numbers[..., 1::2] << 4)
        rest = weight.minimum + _MIDDLE * weight.scale
        product = self._node(
            "MatMulNBits",
            [
                states,
                self._number(f"{name}_numbers", packed),
                self._number(f"{name}_scale", weight.scale),
            ],
            domain=_CONTRIB,
            K=blocks * _BLOCK,
            N=rows,
            bits=weight.bits,
            block_size=_BLOCK,
            accuracy_level=_FLOAT32_PRODUCTS,
        )
        if not rest.any():
            return product
        shape = self._number(f"blocks_{blocks}", np.array([0, 0, blocks, _BLOCK]))
        apart = self._node("Reshape", [states, shape])
        sums = self._node("ReduceSum", [apart, self._number("inner", np.array([-1]))], keepdims=0)
        rests = self._number(f"{name}_rest", np.ascontiguousarray(rest.T))
        return self._node("Add", [product, self._node("MatMul", [sums, rests])])

    def _embedded(self) -> str:
        weight = self._file.blocks("token_embd.weight")
        table = self._number("embeddings", weight.numbers)
        numbers = self._node("Gather", [table, "input_ids"], axis=0)
        scales = self._number("embeddings_scale", weight.scale)
        scale = self._node("Gather", [scales, "input_ids"], axis=0)
        middle = self._number("middle", np.float32(128))
        centred = self._node("Sub", [self._node("Cast", [numbers], to=1), middle])
        wide = self._node("Unsqueeze", [scale, self._number("inner", np.array([-1]))])
        shape = self._number("whole", np.array([0, 0, self._config["hidden_size"]]))
        return self._node("Reshape", [self._node("Mul", [centred, wide]), shape])

    def _norm(self, name: str, states: str) -> str:
        weight = self._number(name, self._file.plain(name))
        epsilon = self._config["rms_norm_eps"]
        kind = "SimplifiedLayerNormalization"  # RMS norm, as ONNX Runtime spells it
        return self._node(kind, [states, weight], axis=-1, epsilon=epsilon, stash_type=1)

    def _number(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        if name not in self._names:
            self._names.add(name)
            self._weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name: str = self._nodes_of(kind, inputs, 1, **attributes)[0]
        return name

    def _nodes_of(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> Any:
        from onnx import helper

        outputs = [f"{kind}_{len(self._nodes)}_{index}" for index in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def _inputs(self) -> list[Any]:
        from onnx import TensorProto, helper

        value = helper.make_tensor_value_info
        fixed = [
            value("input_ids", TensorProto.INT64, [1, "new"]),
            value("seqlens_k", TensorProto.INT32, [1]),
            value("total_sequence_length", TensorProto.INT32, []),
        ]
        return fixed + self._caches("past_", "past")

    def _outputs(self, every: bool) -> list[Any]:
        from onnx import TensorProto, helper

        vocabulary = self._config["vocab_size"]
        shape = [1, "new" if every else 1, vocabulary]
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
        return [logits, *self._caches("", "total")]

    def _caches(self, prefix: str, length: str) -> list[Any]:
        from onnx import TensorProto, helper

        shape = [1, self._config["num_key_value_heads"], length, self._size]
        return [
            helper.make_tensor_value_info(f"{prefix}{kind}_{layer}", TensorProto.FLOAT, shape)
            for layer in range(self._config["num_hidden_layers"])
            for kind in ("key", "value")
        ]
