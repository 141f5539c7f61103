"""The weight of an INT8 op: read like a float tensor, never written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.errors import LoweringError
from ilit_pytorch.modules.weight import Dequantized


@pytest.fixture
def counted() -> tuple[torch.Tensor, list[int]]:
    """Return a weight and a list that grows each time it is dequantized."""
    calls: list[int] = []

    def dequantize() -> torch.Tensor:
        calls.append(1)
        return torch.arange(6.0).reshape(2, 3)

    return Dequantized((2, 3), torch.float32, dequantize), calls


FORM: dict[str, Callable[[Any], Any]] = {
    "shape": lambda w: w.shape == (2, 3),
    "size": lambda w: w.size(0) == 2,
    "dtype": lambda w: w.dtype == torch.float32,
    "device": lambda w: w.device.type == "cpu",
    "ndim": lambda w: (w.ndim, w.dim(), len(w)) == (2, 2, 2),
    "numel": lambda w: w.numel() == 6,
    "gradient": lambda w: not w.requires_grad and w.grad is None,
    "kind": lambda w: isinstance(w, torch.Tensor) and w.is_floating_point(),
    "frozen": lambda w: w.detach() is w and w.data is w,
}


@pytest.mark.parametrize("what", FORM)
def test_its_form_costs_nothing(counted: Any, what: str) -> None:
    """Nothing is dequantized to answer what a weight's shape, dtype or device is."""
    weight, calls = counted
    assert FORM[what](weight)
    assert not calls


VALUES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda w: torch.nn.functional.linear(torch.eye(3), w),
    "product": lambda w: torch.eye(2) @ w,
    "embedding": lambda w: torch.nn.functional.embedding(torch.tensor([1]), w),
    "sum": lambda w: w.sum(),
    "row": lambda w: w[0],
    "transposed": lambda w: w.t(),
    "clone": lambda w: w.clone(),
    "numpy": lambda w: torch.from_numpy(w.numpy()),
    "list": lambda w: torch.tensor(w.tolist()),
}


@pytest.mark.parametrize("what", VALUES)
def test_its_values_are_the_dequantized_ones(counted: Any, what: str) -> None:
    """Whatever reads values is given plain tensors."""
    weight, _ = counted
    plain = torch.arange(6.0).reshape(2, 3)
    found = VALUES[what](weight)
    assert type(found) is torch.Tensor
    assert torch.equal(found, VALUES[what](plain))


WRITES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda w: w.zero_(),
    "its data": lambda w: w.data.mul_(2),
    "an element": lambda w: w.__setitem__(0, 1.0),
    "initialised": torch.nn.init.zeros_,
    "out": lambda w: torch.add(torch.ones(2, 3), 1, out=w),
    "replaced data": lambda w: setattr(w, "data", torch.zeros(2, 3)),
}


@pytest.mark.parametrize("what", WRITES)
def test_writing_is_refused(counted: Any, what: str) -> None:
    """It would reach no code, so it is refused in one line instead of being lost."""
    weight, _ = counted
    with pytest.raises(LoweringError, match="the weight of an INT8 op cannot be written"):
        WRITES[what](weight)


def test_replacing_it_is_refused(bench: Callable[..., Any]) -> None:
    """By torch's own error."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.randn(8, 4))
    lowered = subject.lower(static=["0"])
    with pytest.raises((KeyError, AttributeError), match="weight"):
        lowered[0].weight = torch.nn.Parameter(torch.zeros(2, 4))
