"""The user's own model is run, compared and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.describing.fidelity import first_difference, own_outputs
from ilit_pytorch.model.clone import structural_clone


class Writing(torch.nn.Module):
    """Writes into everything that a forward can write into."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(1))
        self.count, self.seen, self.cache = 0, [], {"last": None, "deep": [torch.zeros(3)]}
        self.register_buffer("mean", torch.zeros(3))
        self.hits = torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.count += 1
        self.seen.append(len(x))
        self.cache["last"] = x
        self.cache["deep"][0] += 1
        self.mean = self.mean * 0.9 + 1
        self.hits.data.add_(1)
        self.fresh = x
        return self.norm(self.fc(x))


def test_everything_is_put_back() -> None:
    """Mode, buffers, attributes, lists and dicts are as they were, new attributes are gone."""
    model = Writing().train()
    buffer, cache = model.calls, model.cache
    own_outputs(model, (torch.randn(5, 8), None))
    assert (model.training, model.norm.training, model.count, model.seen) == (True, True, 0, [])
    assert model.cache is cache
    assert model.cache["last"] is None
    assert not any(tensor.any() for tensor in (model.cache["deep"][0], model.mean, model.hits))
    assert model.calls is buffer
    assert (float(model.calls), int(model.norm.num_batches_tracked)) == (0.0, 0)
    assert not hasattr(model, "fresh")


def test_it_is_the_model_itself_that_answers() -> None:
    """In eval mode, and with the random numbers as they were."""
    model, x = Writing().train(), torch.randn(5, 8)
    state = torch.get_rng_state()
    found = own_outputs(model, (x, None))
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert np.array_equal(found, model.eval()(x).numpy())


def test_the_first_module_that_differs_is_named() -> None:
    """Not those after it, which differ for that reason."""
    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(4)))
    other = structural_clone(model)
    batch = (torch.randn(5, 8), None)
    assert first_difference(model, other, batch) == ""
    with torch.no_grad():
        other[2].bias.add_(1.0)
    assert first_difference(model, other, batch) == "2"
    assert not model[0]._forward_hooks


def test_a_compiled_model_is_run_as_it_was_written() -> None:
    """Nothing is compiled for a comparison."""
    model, x = torch.nn.Sequential(torch.nn.Linear(8, 4)), torch.randn(5, 8)
    compiled = torch.compile(model, backend=refuse)
    assert np.array_equal(own_outputs(compiled, (x, None)), own_outputs(model, (x, None)))


def refuse(*_: Any) -> Any:
    """Compile nothing."""
    raise RuntimeError("this was to be run eagerly")


@pytest.mark.parametrize("name", ["mlp", "transposed", "conv", "stubbed-conv", "shared-stub", "tied-embedding"])
def test_the_all_float_recipe_is_the_users_model(
    bench: Callable[..., Any], sample: Callable[[str], Any], name: str
) -> None:
    """Bit by bit."""
    one = sample(name)
    subject = bench(one.model, one.batches[0][0])
    found = PyTorchAdapter().outputs(subject.lower(), one.batches[0])
    assert own_outputs(subject.model, one.batches[0]).tobytes() == found.tobytes()
