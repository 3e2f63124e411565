"""Padding in a batch: that it changes nothing, and what training sees of a text."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelport.families import padding

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def batch(lengths: list[int], spare: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts whose tokens are 2, 3, 4 and so on, and their mask."""
    longest = max(lengths) + spare
    places = torch.arange(longest).expand(len(lengths), -1)
    mask = (places < torch.tensor(lengths)[:, None]).long()
    return (places + 2) * mask, mask


@given(lengths=LENGTHS, spare=st.integers(0, 5))
def test_what_is_pooled_is_that_of_each_text_alone(lengths: list[int], spare: int) -> None:
    _, mask = batch(lengths, spare)
    states = torch.rand((*mask.shape, 3)) * 2 - 1
    # What a network leaves on padding is anything.
    states[mask == 0] = 0.99
    pooled = padding.mean_and_maximum(states, mask)
    for index, length in enumerate(lengths):
        alone = states[index, :length]
        expected = torch.cat([alone.mean(0), alone.amax(0)])
        torch.testing.assert_close(pooled[index], expected)
    torch.testing.assert_close(padding.mean(states, mask), pooled[:, :3])


def test_a_row_that_is_all_padding_gives_numbers() -> None:
    pooled = padding.mean_and_maximum(torch.ones(1, 4, 2), torch.zeros(1, 4).long())
    assert pooled.tolist() == [[0, 0, -1, -1]]


@given(lengths=LENGTHS, length=st.integers(1, 15))
def test_a_window_is_a_piece_of_its_text(lengths: list[int], length: int) -> None:
    ids, mask = padding.windows(*batch(lengths), length=length, hidden=0.0)
    assert ids.shape == mask.shape == (len(lengths), length)
    for row, real, whole in zip(ids, mask, lengths, strict=True):
        count = min(whole, length)
        assert real.tolist() == [1] * count + [0] * (length - count)
        first = int(row[0])
        assert 2 <= first <= 2 + whole - count
        assert row[:count].tolist() == list(range(first, first + count))


def test_every_place_of_a_text_is_seen_and_some_words_are_made_unknown() -> None:
    torch.manual_seed(0)
    ids, mask = batch([10] * 2000)
    seen, _ = padding.windows(ids, mask, length=4, hidden=0.0)
    assert set(seen[:, 0].tolist()) == set(range(2, 9))
    seen, _ = padding.windows(ids, mask, length=4, hidden=0.25, unknown=99)
    assert (seen == 99).float().mean() == pytest.approx(0.25, abs=0.02)
