"""The INT8 embedding by itself."""

from __future__ import annotations

import pytest
import torch

from ilit.errors import LoweringError
from ilit_pytorch.modules.embedding import Int8Embedding

CODES, SCALE = torch.tensor([[1, -2], [127, 0], [-3, 4]], dtype=torch.int8), torch.tensor([0.5, 0.25, 2.0])


@pytest.mark.parametrize("indices", [[2, 0], [[0, 1], [2, 2]], []], ids=["one axis", "two axes", "none"])
def test_rows_looked_up_are_codes_times_their_scale(indices: list[int]) -> None:
    """Exactly, for indices of any shape."""
    given = torch.tensor(indices, dtype=torch.int64)
    found = Int8Embedding(CODES, SCALE)(given)
    assert found.dtype == torch.float32
    assert torch.equal(found, (CODES.float() * SCALE[:, None])[given])


def test_it_is_built_again_from_what_an_artefact_holds() -> None:
    """Its tensors are all."""
    module = Int8Embedding(CODES, SCALE)
    again = Int8Embedding.restore(module.meta(), module.tensors(), torch.nn.Embedding(3, 2))
    assert torch.equal(again(torch.arange(3)), module(torch.arange(3)))


def test_its_weight_is_read_and_not_written() -> None:
    """As of every INT8 op."""
    weight = Int8Embedding(CODES, SCALE).weight
    assert torch.equal(weight[1], torch.tensor([31.75, 0.0]))
    with pytest.raises(LoweringError, match="cannot be written"):
        weight.zero_()
