"""The weight of an INT8 op: read like a float tensor, never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.errors import LoweringError
from ilit_pytorch.module_parts.dequantized import Dequantized


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
    "numpy": lambda w: torch.tensor(w.numpy()),
    "list": lambda w: torch.tensor(w.tolist()),
}


@pytest.mark.parametrize("what", VALUES)
def test_its_values_are_the_dequantized_ones(counted: Any, what: str) -> None:
    """Whatever reads values is given plain tensors."""
    weight, _ = counted
    plain = torch.arange(6.0).reshape(2, 3)
    found = VALUES[what](weight)
    assert not isinstance(found, Dequantized)
    assert torch.equal(found, VALUES[what](plain))


WRITES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda w: w.zero_(),
    "its data": lambda w: w.data.mul_(2),
    "an element": lambda w: w.__setitem__(0, 1.0),
    "initialised": torch.nn.init.zeros_,
    "out": lambda w: torch.add(torch.ones(2, 3), 1, out=w),
    "one of many": lambda w: torch._foreach_add_([torch.ones(2, 3), w], 1.0),
    "a row of its data": lambda w: w.data[0].zero_(),
    "a row": lambda w: w[0].fill_(1.0),
    "transposed": lambda w: w.T.mul_(2.0),
    "a view of a view": lambda w: w.view(-1)[:2].view(2, 1).zero_(),
    "activation in place": lambda w: torch.nn.functional.relu(w, inplace=True),
    "replaced data": lambda w: setattr(w, "data", torch.zeros(2, 3)),
}


@pytest.mark.parametrize("what", WRITES)
def test_writing_is_refused(counted: Any, what: str) -> None:
    """It would reach no code, so it is refused in one line instead of being lost."""
    weight, _ = counted
    with pytest.raises(LoweringError, match="the weight of an INT8 op cannot be written"):
        WRITES[what](weight)


MEMORY: dict[str, Callable[[Any], Any]] = {
    "pointer": lambda w: w.data_ptr(),
    "storage": lambda w: w.untyped_storage(),
    "shared": lambda w: w.share_memory_(),
    "parameter": torch.nn.Parameter,
    "thawed": lambda w: w.requires_grad_(True),
}


@pytest.mark.parametrize("what", MEMORY)
def test_it_has_no_memory_of_its_own(counted: Any, what: str) -> None:
    """What reads or shares memory is told to take a copy, instead of being given memory that is gone."""
    weight, _ = counted
    with pytest.raises(LoweringError, match=r"weight\.clone\(\)"):
        MEMORY[what](weight)
    assert torch.nn.Parameter(weight.clone()).requires_grad


def test_an_array_of_it_is_read_only(counted: Any) -> None:
    """As a view of it is."""
    weight, _ = counted
    with pytest.raises(ValueError, match="read-only"):
        weight.numpy()[0] = 1.0


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("value", [None, torch.zeros(2), torch.nn.Parameter(torch.zeros(2))])
def test_replacing_it_is_refused(bench: Callable[..., Any], name: str, value: Any) -> None:
    """In one line, the bias as well."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.randn(8, 4))
    lowered = subject.lower(static=["0"])
    with pytest.raises(LoweringError, match=f"the {name} of an INT8 op cannot be replaced"):
        setattr(lowered[0], name, value)


def test_reading_it_makes_nothing_larger(bench: Callable[..., Any], tmp_path: Any) -> None:
    """Neither the model, as it is measured, nor its artefact, in which it is nowhere."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 3)), torch.randn(8, 64))
    batch, sizes = (subject.inputs, None), []
    for reads in (False, True):
        lowered = subject.lower(static=subject.ops)
        if reads:
            assert lowered[0].weight.sum().isfinite()
        sizes.append(subject.adapter.measure(lowered, batch).bytes)
        subject.adapter.save(lowered, tmp_path)
        assert json.loads((tmp_path / "recipe.json").read_text())["attributes"] == []
    assert sizes[0] == sizes[1] < 64 * 64 * 2
    assert isinstance(subject.adapter.load(tmp_path, model=subject.model)[0].weight, Dequantized)
