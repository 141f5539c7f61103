"""Tokenized rows in batches of like length, each padded to its longest row."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ilit.errors import ConfigError, DataError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Row:
    """One tokenized input.

    Attributes:
        id: the row's number in its file (for SQuAD the window's index).
        input_ids: int64 ``(tokens,)``, without padding.
        token_type_ids: int64 ``(tokens,)``.
        label: what the batch's labels hold for this row.
    """

    id: int
    input_ids: Array
    token_type_ids: Array
    label: Any


class LengthBatches:
    """A loader that may be iterated again and again, in the same order each time.

    Rows of like length are batched together, so that little is computed on padding; the batches themselves come in
    a fixed shuffled order, so that the first few are not all of the shortest rows.

    Yields ``(inputs, labels)``: ``input_ids``, ``attention_mask`` and, where the model has token types,
    ``token_type_ids``, int64 ``(rows, tokens)`` padded on the right; labels ``(rows,)`` or, for SQuAD, ``(rows, 2)``.

    Args:
        rows: the rows.
        pad_id: token id of padding.
        token_types: whether to give ``token_type_ids``.
        batch_size: rows of a batch; the last of a length may have fewer.
        seed: of the batches' order.
    """

    def __init__(
        self, rows: Sequence[Row], pad_id: int, *, token_types: bool, batch_size: int = 32, seed: int = 9527
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch size {batch_size}: a batch holds at least 1 row")
        ordered = sorted(rows, key=lambda row: len(row.input_ids))
        self._batches = [ordered[first : first + batch_size] for first in range(0, len(ordered), batch_size)]
        random.Random(seed).shuffle(self._batches)  # noqa: S311 (an order, not a secret)
        self._pad_id = pad_id
        self._token_types = token_types

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        for rows in self._batches:
            inputs = {
                "input_ids": _padded([row.input_ids for row in rows], self._pad_id),
                "attention_mask": _padded([np.ones_like(row.input_ids) for row in rows], 0),
            }
            if self._token_types:
                inputs["token_type_ids"] = _padded([row.token_type_ids for row in rows], 0)
            yield inputs, torch.tensor([row.label for row in rows])

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    @property
    def row_ids(self) -> tuple[int, ...]:
        """Ids of the rows in the order they are yielded."""
        return tuple(row.id for batch in self._batches for row in batch)

    def in_file_order(self, values: Sequence[Any]) -> list[Any]:
        """Sort one value per row, given in the order the rows are yielded, into the order of the file.

        Raises:
            DataError: there are more or fewer values than rows.
        """
        ids = self.row_ids
        if len(values) != len(ids):
            raise DataError(f"{len(values)} values for {len(ids)} rows; give one for each row, in the order yielded")
        return [value for _, value in sorted(zip(ids, values, strict=True), key=lambda pair: pair[0])]


def _padded(arrays: Sequence[Array], value: int) -> torch.Tensor:
    """Return the rows as one int64 tensor ``(rows, longest)``, filled on the right with ``value``."""
    filled = np.full((len(arrays), max(map(len, arrays))), value, dtype=np.int64)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(filled)
