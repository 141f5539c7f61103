"""Promises of ``ilit_bert.data.length_batches``: little padding, one fixed order, the way back to the file's order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ilit.errors import ConfigError, DataError
from ilit_bert.data.length_batches import LengthBatches, Row

PAD = 99
LENGTHS = [1 + row * 7 % 9 for row in range(23)]


def row(number, length, label=0):
    """Return a row of so many tokens, which are its number."""
    return Row(number, np.full(length, number), np.ones(length, np.int64), label)


def batched(size=4, **options):
    """Return 23 rows of 1 to 9 tokens in batches."""
    rows = [row(number, length, number % 2) for number, length in enumerate(LENGTHS)]
    return LengthBatches(rows, PAD, **{"token_types": True, "batch_size": size, **options})


def test_every_row_comes_once_with_its_label():
    """Each row is in one batch, its label beside it, and ``row_ids`` names them in that order."""
    loader = batched()
    seen = [pair for inputs, labels in loader for pair in zip(inputs["input_ids"][:, 0].tolist(), labels, strict=True)]
    assert [number for number, _ in seen] == list(loader.row_ids)
    assert sorted(seen) == [(number, number % 2) for number in range(23)]
    assert len(loader) == len(list(loader)) == 6


def test_batches_are_padded_to_their_longest():
    """A batch is as wide as its longest row; the mask says what is padding, in int64."""
    for inputs, _ in batched():
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        assert ids.dtype == mask.dtype == torch.int64
        assert mask.sum(1).max() == ids.shape[1]
        assert ((ids == PAD) == (mask == 0)).all()


def test_rows_of_like_length_are_together():
    """No row of a narrower batch is longer than one of a wider batch, and the narrowest do not come first."""
    widths = [(inputs["input_ids"].shape[1], int(inputs["attention_mask"].sum(1).min())) for inputs, _ in batched()]
    ordered = sorted(widths)
    assert all(left[0] <= right[1] for left, right in itertools.pairwise(ordered))
    assert widths != ordered


def test_the_seed_alone_decides_the_order():
    """Iterating and constructing again gives the same order, another seed another."""
    loader = batched()
    assert [labels.tolist() for _, labels in loader] == [labels.tolist() for _, labels in loader]
    assert loader.row_ids == batched().row_ids != batched(seed=1).row_ids


def test_token_types_are_given_where_asked_for():
    """Models without token types get none."""
    (inputs, _), *_ = batched(token_types=False)
    assert list(inputs) == ["input_ids", "attention_mask"]
    (inputs, _), *_ = batched()
    assert list(inputs) == ["input_ids", "attention_mask", "token_type_ids"]


def test_pairs_of_labels():
    """SQuAD's labels are a pair a row."""
    ((_, labels),) = LengthBatches([row(0, 3, (0, 7)), row(1, 2, (1, 8))], PAD, token_types=False)
    assert labels.tolist() == [[1, 8], [0, 7]]


def test_values_go_back_to_the_order_of_the_file():
    """One value for each row, in the order yielded, comes back sorted by row; another number of values is refused."""
    loader = batched()
    assert loader.in_file_order(loader.row_ids) == list(range(23))
    with pytest.raises(DataError, match="1 values for 23 rows; give one for each row, in the order yielded"):
        loader.in_file_order([1])


def test_a_batch_holds_a_row():
    """A batch size of nothing is refused."""
    with pytest.raises(ConfigError, match="batch size 0: a batch holds at least 1 row"):
        batched(size=0)
