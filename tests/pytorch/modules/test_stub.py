"""The stub of a float model, and what stands there and behind it in a lowered one."""

from __future__ import annotations

import torch

from ilit_pytorch import QuantStub
from ilit_pytorch.module_parts.activation import SharedActivation
from ilit_pytorch.modules.stub import FloatReader, SharedSource

X = torch.randn(6, 8)


def test_in_a_float_model_it_is_the_identity() -> None:
    """The very tensor."""
    assert QuantStub()(X) is X


def test_lowered_it_hands_the_activation_on_with_room_for_codes() -> None:
    """A float op behind it reads the float tensor, of the stub or of a plain call."""
    shared, op = SharedSource()(X), torch.nn.Linear(8, 3)
    assert isinstance(shared, SharedActivation)
    assert shared.tensor is X
    reader = FloatReader(op)
    assert torch.equal(reader(shared), op(X))
    assert torch.equal(reader(X), op(X))
