"""Texts of several lengths in one batch: what networks do so that padding changes nothing.

Tokens come first and padding follows, as :class:`modelport.serving.text.Tokens` gives them.
"""

from __future__ import annotations

import torch


def mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give the mean over what is real.

    Args:
        states: float32[batch, length, size].
        mask: int64[batch, length], 1 on tokens and 0 on padding.

    Returns:
        float32[batch, size]; 0 of a row that is all padding.
    """
    real = mask.unsqueeze(-1).to(states.dtype)
    return (states * real).sum(1) / real.sum(1).clamp(min=1)


def mean_and_maximum(
    states: torch.Tensor, mask: torch.Tensor, *, least: float = -1.0
) -> torch.Tensor:
    """Give the mean and the maximum over what is real, one after the other.

    A word that says it all counts, wherever it stands (Howard & Ruder 2018, arXiv:1801.06146,
    section 3.3).

    Args:
        states: float32[batch, length, size].
        mask: int64[batch, length], 1 on tokens and 0 on padding.
        least: no state is smaller: those of an LSTM lie between -1 and 1. It is the maximum of
            a row that is all padding.

    Returns:
        float32[batch, 2 * size].
    """
    highest = torch.where(mask.unsqueeze(-1).bool(), states, least).amax(1)
    return torch.cat([mean(states, mask), highest], 1)


def windows(
    ids: torch.Tensor, mask: torch.Tensor, *, length: int, hidden: float, unknown: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take a window of each text at random, and make some of its words unknown: for training.

    Args:
        ids: int64[batch, any].
        mask: of that shape, 1 on tokens and 0 on padding.
        length: of the windows; a shorter text is taken whole, and padded.
        hidden: share of words made unknown. Each must be missable, as it is in other texts.
        unknown: number of the unknown word.

    Returns:
        Both int64[batch, length].
    """
    lengths = mask.sum(1)
    starts = (torch.rand(len(lengths)) * (lengths - length + 1).clamp(min=1)).long()
    places = starts[:, None] + torch.arange(length)
    inside = (places < lengths[:, None]).long()
    ids = ids.gather(1, places.clamp(max=ids.shape[1] - 1))
    return torch.where(torch.rand(ids.shape) < hidden, unknown, ids), inside
