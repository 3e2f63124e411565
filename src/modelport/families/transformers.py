"""Hugging Face networks cut into the graphs that generation serves.

The attention is written out here instead of being taken from the library: a
decoder step with a cache of tensors, in and out, is what ONNX can hold, and the
library's cache objects change from release to release. Tests compare the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelport.errors import DataError
from modelport.spec.parts import Sample, Tensor

_WRITTEN_AT_ONCE = 128
# All that is needed of a folder on the hub; weights as pickles are not loaded.
_NEEDED = ("config.json", "generation_config.json", "tokenizer.json", "*.safetensors")


def generation_options(*, beams: bool) -> tuple[Tensor, ...]:
    """Give the optional inputs of a text model; see :class:`modelport.serving.generation.Options`.

    Args:
        beams: whether the model offers beam search, which no stream can.
    """
    every = (
        Tensor("max_new_tokens", "INT32", (1,), optional=True, doc="the most tokens made"),
        Tensor("num_beams", "INT32", (1,), optional=True, doc="paths of the search, 1 to 8"),
        Tensor("temperature", "FP32", (1,), optional=True, doc="0 takes the likeliest token"),
        Tensor("top_k", "INT32", (1,), optional=True, doc="likeliest tokens to draw from; 0: all"),
        Tensor("top_p", "FP32", (1,), optional=True, doc="share of probability to draw from"),
        Tensor("seed", "INT64", (1,), optional=True, doc="of the drawing"),
        Tensor("stop", "BYTES", (-1,), optional=True, doc="texts before which the answer ends"),
    )
    return tuple(tensor for tensor in every if beams or tensor.name != "num_beams")


def t5_folder(name: str) -> Path:
    """Give the folder of a pretrained T5: a Hugging Face folder here, or a name on the hub.

    Raises:
        DataError: there is no such folder or name, it is no T5, or it lacks a file.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _from_hub(name)
    missing = [file for file in ("config.json", "tokenizer.json") if not (folder / file).is_file()]
    kind = "" if missing else json.loads((folder / "config.json").read_text()).get("model_type")
    if missing or kind != "t5":
        lacks = f"has no {missing[0]}" if missing else f"holds a model of type {kind!r}"
        raise DataError(
            f"{folder}: is no T5 in Hugging Face's form: it {lacks}",
            cause="a folder with config.json, tokenizer.json and model.safetensors is expected",
            next_step="write it with network.save_pretrained and tokenizer.save_pretrained",
            path=folder,
        )
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_NEEDED)))
    # The hub's client raises its own, requests' and plain errors, by what failed.
    except Exception as error:
        raise DataError(
            f"{name}: there is no such folder here, and the hub does not give it"
            f" ({type(error).__name__})",
            cause="this machine has no way to the hub, or the name is wrong",
            next_step="give the path of a folder, or download it where there is network:"
            f" hf download {name} --local-dir FOLDER",
        ) from error


class T5Tensors:
    """Inputs and outputs of the two graphs of a T5, and samples of the decoder's.

    Args:
        config: fields of its ``config.json``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        layers = config.get("num_decoder_layers") or config["num_layers"]
        self._vocabulary: int = config["vocab_size"]
        self._cache = (layers, config["num_heads"], -1, config["d_kv"])
        mask = Tensor("attention_mask", "INT64", (-1,), doc="1 on tokens, 0 on padding")
        crosses = self._pair("cross_", -1)
        self.encoder_inputs = (Tensor("input_ids", "INT64", (-1,)), mask)
        self.encoder_outputs = crosses
        self.decoder_inputs = (
            Tensor("token", "INT64", (1,), doc="the token that was chosen last"),
            mask,
            *crosses,
            *self._pair("past_", -1),
        )
        logits = Tensor("logits", "FP32", (self._vocabulary,), doc="scores of the next token")
        self.decoder_outputs = (logits, *self._pair("", 1))

    def _pair(self, prefix: str, length: int) -> tuple[Tensor, Tensor]:
        layers, heads, _, size = self._cache
        dims = (layers, heads, length, size)
        return Tensor(f"{prefix}keys", "FP32", dims), Tensor(f"{prefix}values", "FP32", dims)

    def decoder_samples(self, *_: object) -> Sequence[Sample]:
        """Draw steps of the decoder, at the first token and later, with and without padding."""
        random = np.random.default_rng(0)
        return [self._sample(past, random) for past in (0, 1, 2, 7, 30)]

    def _sample(self, past: int, random: np.random.Generator) -> Sample:
        layers, heads, _, size = self._cache
        time = 5 + past

        def drawn(length: int) -> np.ndarray:
            return random.normal(size=(layers, heads, length, size)).astype(np.float32)

        return Sample(
            {
                "token": random.integers(0, self._vocabulary, 1),
                "attention_mask": (np.arange(time) < time - past % 3).astype(np.int64),
                "cross_keys": drawn(time),
                "cross_values": drawn(time),
                "past_keys": drawn(past),
                "past_values": drawn(past),
            }
        )


class TeacherForced(nn.Module):
    """A sequence-to-sequence network in training: how unlikely each right token is to it.

    Args:
        network: a ``T5ForConditionalGeneration``.
        decode: gives the text of token numbers.
    """

    def __init__(self, network: Any, decode: Callable[[Sequence[int]], str]) -> None:
        super().__init__()
        self.network = network
        self._decode = decode

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Give -log p of each label given those before it: float32[batch, length], padding 0."""
        config = self.network.config
        real, source = labels != config.pad_token_id, input_ids != config.pad_token_id
        # What is padding in every row of this batch is not computed.
        input_ids = input_ids[:, : int(source.sum(1).max())]
        mask = source[:, : input_ids.shape[1]].long()
        length = int(real.sum(1).max())
        start = torch.full_like(labels[:, :1], config.decoder_start_token_id)
        encoded = self.network.encoder(input_ids=input_ids, attention_mask=mask)
        states = self.network.decoder(
            input_ids=torch.cat([start, labels[:, : length - 1]], dim=1),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state[real[:, :length]]
        if config.scale_decoder_outputs:
            states = states * config.d_model**-0.5
        losses = nn.functional.cross_entropy(
            self.network.lm_head(states), labels[real], reduction="none"
        )
        return torch.zeros(labels.shape).masked_scatter(real, losses)

    def write(self, input_ids: np.ndarray, *, most: int) -> list[str]:
        """Answer texts, int64[items, time], by Hugging Face's own greedy ``generate``."""
        answers: list[str] = []
        for first in range(0, len(input_ids), _WRITTEN_AT_ONCE):
            ids = torch.from_numpy(input_ids[first : first + _WRITTEN_AT_ONCE])
            mask = (ids != self.network.config.pad_token_id).long()
            with torch.inference_mode():
                made = self.network.generate(
                    ids, attention_mask=mask, max_new_tokens=most, num_beams=1, do_sample=False
                )
            answers += [self._decode(row) for row in made.tolist()]
        return answers

    @staticmethod
    def mean(losses: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Give the mean loss of a batch: its tokens weigh alike, padding (0) nothing."""
        return losses.sum() / (labels != 0).sum()


class T5Encoder(nn.Module):
    """What a T5 decoder attends to: the encoder, and its decoder's cross keys and values.

    The architecture is that of Raffel et al. 2020, arXiv:1910.10683.

    Args:
        network: a ``T5ForConditionalGeneration``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a batch.

        Args:
            input_ids: int64[batch, time].
            attention_mask: int64[batch, time], 1 on tokens and 0 on padding.

        Returns:
            Keys and values, each float32[batch, layers, heads, time, size].
        """
        stack = self.network.encoder
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        bias = _bias(stack, positions, positions) + _masked(attention_mask)
        states = stack.embed_tokens(input_ids)
        for block in stack.block:
            attention = block.layer[0].SelfAttention
            normal = block.layer[0].layer_norm(states)
            keys, values = _keys_values(attention, normal)
            states = states + _attend(attention, normal, keys, values, bias)
            states = block.layer[-1](states)
        states = stack.final_layer_norm(states)
        crosses = [
            _keys_values(block.layer[1].EncDecAttention, states)
            for block in self.network.decoder.block
        ]
        return _stacked(crosses)


class T5DecoderStep(nn.Module):
    """One token through a T5 decoder: scores of the next, and the cache's new column.

    Args:
        network: a ``T5ForConditionalGeneration``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        token: torch.Tensor,
        attention_mask: torch.Tensor,
        cross_keys: torch.Tensor,
        cross_values: torch.Tensor,
        past_keys: torch.Tensor,
        past_values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Advance a batch by one token.

        Args:
            token: int64[batch, 1].
            attention_mask: int64[batch, time] of the encoder's input.
            cross_keys: float32[batch, layers, heads, time, size] of :class:`T5Encoder`.
            cross_values: likewise.
            past_keys: float32[batch, layers, heads, past, size]; ``past`` is 0 at first.
            past_values: likewise.

        Returns:
            Scores float32[batch, vocabulary]; keys and values of this token,
            float32[batch, layers, heads, 1, size], to be joined to the past.
        """
        stack = self.network.decoder
        positions = torch.arange(past_keys.shape[3] + 1, device=token.device)
        bias = _bias(stack, positions[-1:], positions)
        cross_bias = _masked(attention_mask)
        states = stack.embed_tokens(token)
        columns = []
        for index, block in enumerate(stack.block):
            own, cross = block.layer[0].SelfAttention, block.layer[1].EncDecAttention
            normal = block.layer[0].layer_norm(states)
            key, value = _keys_values(own, normal)
            columns.append((key, value))
            keys = torch.cat([past_keys[:, index], key], dim=2)
            values = torch.cat([past_values[:, index], value], dim=2)
            states = states + _attend(own, normal, keys, values, bias)
            normal = block.layer[1].layer_norm(states)
            states = states + _attend(
                cross, normal, cross_keys[:, index], cross_values[:, index], cross_bias
            )
            states = block.layer[-1](states)
        states = stack.final_layer_norm(states)[:, 0]
        if self.network.config.scale_decoder_outputs:
            states = states * self.network.config.d_model**-0.5
        return self.network.lm_head(states), *_stacked(columns)


def _stacked(
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Join the keys and the values of all layers on a dimension after the batch's."""
    keys, values = zip(*layers, strict=True)
    return torch.stack(keys, dim=1), torch.stack(values, dim=1)


def _heads(attention: Any, states: torch.Tensor) -> torch.Tensor:
    batch, time, _ = states.shape
    return states.view(batch, time, attention.n_heads, -1).transpose(1, 2)


def _keys_values(attention: Any, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _heads(attention, attention.k(states)), _heads(attention, attention.v(states))


def _attend(
    attention: Any,
    states: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Attend without scaling by the size of a head, as T5 does."""
    queries = _heads(attention, attention.q(states))
    weights = (queries @ keys.transpose(2, 3) + bias).softmax(dim=-1)
    batch, _, time, _ = queries.shape
    return attention.o((weights @ values).transpose(1, 2).reshape(batch, time, -1))  # type: ignore[no-any-return]


def _masked(mask: torch.Tensor) -> torch.Tensor:
    """Give a bias float32[batch, 1, 1, time] that leaves padding no weight."""
    return (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min


def _bias(stack: Any, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Give the relative position bias float32[1, heads, queries, keys] of the first block."""
    attention = stack.block[0].layer[0].SelfAttention
    buckets = attention._relative_position_bucket(
        keys[None, :] - queries[:, None],
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    return attention.relative_attention_bias(buckets).permute(2, 0, 1)[None]  # type: ignore[no-any-return]


def t5_tokenizer(folder: Path, *, longest: int) -> Any:
    """Read the tokenizer of a Hugging Face folder, to cut off at ``longest`` tokens."""
    from tokenizers import Tokenizer

    from modelport.families import pieces

    pad = json.loads((folder / "config.json").read_text()).get("pad_token_id", 0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return pieces.prepared(tokenizer, longest=longest, pad=pad)


def t5_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the loop must know of a T5: its first and last token, and its task's prefix."""
    task = (config.get("task_specific_params") or {}).get("summarization", {})
    return {
        "start": config["decoder_start_token_id"],
        "end": config["eos_token_id"],
        "prefix": task.get("prefix", ""),
    }
