"""Hugging Face networks cut into the graphs that generation serves.

The attention is written out here instead of being taken from the library: a
decoder step with a cache of tensors, in and out, is what ONNX can hold, and the
library's cache objects change from release to release. Tests compare the two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from modelport.spec.model import Tensor


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
        keys, values = zip(*crosses, strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)


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
        keys, values = zip(*columns, strict=True)
        return self.network.lm_head(states), torch.stack(keys, dim=1), torch.stack(values, dim=1)


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
