"""``QuantStub``: a mark in a model's code that says "quantize once here for everything that reads this"."""

from __future__ import annotations

import torch


class QuantStub(torch.nn.Module):
    """Mark an activation that several ops read. In the float model it is the identity, bit for bit.

    Where at least one of the ops behind it runs in INT8, lowering puts a ``SharedActivation`` source in its place: the
    codes are made once for each distinct activation config among the readers, and float readers get the float tensor.
    The output must go to quantizable ops only: an op in between, such as a reshape, belongs in front of the stub.
    """

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Return ``activation`` itself, of any shape."""
        return activation
