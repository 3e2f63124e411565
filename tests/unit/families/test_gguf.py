"""A GGUF file's network: its ONNX graph against Hugging Face's network of the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from modelport.errors import DataError
from modelport.families import gguf

LAYERS, WIDTH, HEADS, GROUPS, INNER = 2, 64, 4, 2, 96
SIZE = WIDTH // HEADS
LETTERS = [chr(code) for code in range(33, 127)]
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, "Ġ", "Ċ", "ab"]


def write(path: Path, *, architecture: str = "llama", kind: str = "Q4_1") -> Path:
    """Write a tiny random network as a GGUF file, as llama.cpp's converter does."""
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    random = np.random.default_rng(0)
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)

    def quantized(name: str, rows: int, columns: int, of: str) -> None:
        weight = random.normal(scale=0.3, size=(rows, columns)).astype(np.float32)
        dtype = GGMLQuantizationType[of]
        writer.add_tensor(f"{name}.weight", quants.quantize(weight, dtype), raw_dtype=dtype)

    def plain(name: str) -> None:
        weight = random.normal(1, 0.2, WIDTH).astype(np.float32)
        writer.add_tensor(f"{name}.weight", weight)

    quantized("token_embd", len(TOKENS), WIDTH, "Q8_0")
    plain("output_norm")
    for layer in range(LAYERS):
        ours = f"blk.{layer}"
        plain(f"{ours}.attn_norm")
        plain(f"{ours}.ffn_norm")
        quantized(f"{ours}.attn_q", WIDTH, WIDTH, kind)
        quantized(f"{ours}.attn_k", GROUPS * SIZE, WIDTH, kind)
        quantized(f"{ours}.attn_v", GROUPS * SIZE, WIDTH, kind)
        quantized(f"{ours}.attn_output", WIDTH, WIDTH, kind)
        quantized(f"{ours}.ffn_gate", INNER, WIDTH, kind)
        quantized(f"{ours}.ffn_up", INNER, WIDTH, kind)
        quantized(f"{ours}.ffn_down", WIDTH, INNER, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> gguf.LlamaFile:
    return gguf.LlamaFile(write(tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"))


def session(file: gguf.LlamaFile, **settings: Any) -> Any:
    graph = gguf.onnx_graph(file, context=64, **settings)
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(
    graph: Any, ids: np.ndarray, past: list[np.ndarray] | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    kinds = [f"{kind}_{layer}" for layer in range(LAYERS) for kind in ("key", "value")]
    past = past or [np.zeros((1, GROUPS, 0, SIZE), np.float32) for _ in kinds]
    total = past[0].shape[2] + ids.shape[1]
    feeds = {
        "input_ids": ids,
        "seqlens_k": np.array([total - 1], np.int32),
        "total_sequence_length": np.array(total, np.int32),
        **{f"past_{kind}": array for kind, array in zip(kinds, past, strict=True)},
    }
    logits, *cache = graph.run(["logits", *kinds], feeds)
    return logits, cache


def scores(network: Any, ids: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(ids)).logits.numpy())


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(1).integers(0, len(TOKENS), (1, 24))


def test_the_graph_gives_the_network_s_scores(file: gguf.LlamaFile, ids: np.ndarray) -> None:
    want = scores(file.network(), ids)
    got, _ = run(session(file, every=True), ids)
    # The same numbers, summed in another order.
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)
    assert np.ptp(want) > 5


def test_token_by_token_is_the_same_as_at_once(file: gguf.LlamaFile, ids: np.ndarray) -> None:
    want = scores(file.network(), ids)
    graph = session(file)
    got, cache = run(graph, ids[:, :7])
    np.testing.assert_allclose(got[:, 0], want[:, 6], atol=1e-4, rtol=1e-4)
    for at in range(7, 24):
        got, cache = run(graph, ids[:, at : at + 1], cache)
        np.testing.assert_allclose(got[:, 0], want[:, at], atol=1e-4, rtol=1e-4)


def test_blocks_are_what_the_file_s_own_library_reads(file: gguf.LlamaFile) -> None:
    from gguf import quants

    for name in ("token_embd.weight", "blk.1.ffn_down.weight"):
        tensor = file._tensors[name]
        want = quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_allclose(file.blocks(name).values(), want, rtol=1e-6, atol=1e-6)


def test_eight_bits_are_two_times_four(file: gguf.LlamaFile) -> None:
    whole = file.blocks("token_embd.weight")
    high, low = whole.halves()
    assert (high.bits, high.numbers.max(), low.numbers.max()) == (4, 15, 15)
    np.testing.assert_allclose(high.values() + low.values(), whole.values(), atol=1e-6)


def test_the_tokenizer_reads_and_writes(file: gguf.LlamaFile) -> None:
    tokenizer = file.tokenizer()
    assert tokenizer.encode("cab 12<|im_end|>").tokens == ["c", "ab", "Ġ", "1", "2", "<|im_end|>"]
    assert tokenizer.decode(tokenizer.encode("cab 12").ids) == "cab 12"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a network" * 9)
    with pytest.raises(DataError, match=r"no\.gguf: is no GGUF file"):
        gguf.LlamaFile(tmp_path / "no.gguf")
    with pytest.raises(DataError, match="its architecture is 'gpt2'; expected 'llama'"):
        gguf.LlamaFile(write(tmp_path / "other.gguf", architecture="gpt2"))
    other = gguf.LlamaFile(write(tmp_path / "q8.gguf", kind="Q4_0"))
    with pytest.raises(DataError, match=r"blk\.0\.attn_q\.weight is of the type Q4_0; expected"):
        gguf.onnx_graph(other, context=64)
