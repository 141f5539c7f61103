"""A blank clone has the model's modules and none of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ilit_pytorch.model.blank import blank


def test_a_blank_has_nothing_of_the_model(sample: Callable[[str], Any]) -> None:
    """No tensor keeps its value, wherever it stands; the model keeps all."""
    model = sample("tied-embedding").model
    model.note = {"list": [torch.ones(2)], "tuple": (torch.ones(2),)}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    empty = blank(model)
    assert all(tensor.isnan().all() for tensor in (*empty.parameters(), *empty.buffers()))
    assert all(found.isnan().all() for found in (empty.note["list"][0], empty.note["tuple"][0]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.note["list"][0], torch.ones(2))
