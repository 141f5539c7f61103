"""What a fused call looks for before it leaves out the plain ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers.activations as theirs

from ilit_pytorch import unobserved
from ilit_pytorch.fused.conditions import is_identity, post_op_of


def nothing(*_: Any) -> None:
    """Watch and change nothing."""


@pytest.fixture
def _watched_everywhere() -> Iterator[None]:
    handle = torch.nn.modules.module.register_module_forward_hook(nothing)
    yield
    handle.remove()


class OwnCall(torch.nn.Linear):
    """A class that does something at each call."""

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)


def _patched(module: torch.nn.Module) -> None:
    module.forward = lambda x: x  # type: ignore[method-assign]  # what users do


OBSERVING: dict[str, Callable[[torch.nn.Module], Any]] = {
    "hook": lambda module: module.register_forward_hook(nothing),
    "pre-hook": lambda module: module.register_forward_pre_hook(nothing),
    "backward hook": lambda module: module.register_full_backward_hook(nothing),
    "backward pre-hook": lambda module: module.register_full_backward_pre_hook(nothing),
    "forward patched": _patched,
    "compiled": lambda module: module.compile(backend="eager"),
}


@pytest.mark.parametrize("way", OBSERVING)
def test_a_watched_or_changed_module_is_observed(way: str) -> None:
    """Beside one that nobody watches, too."""
    module, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    assert unobserved(module, other)
    OBSERVING[way](module)
    assert not unobserved(module)
    assert not unobserved(other, module)
    assert unobserved(other)


def test_a_hook_that_is_taken_off_observes_no_more() -> None:
    """As does a patch that is taken back."""
    module = torch.nn.Linear(4, 4)
    module.register_forward_hook(nothing).remove()
    _patched(module)
    del module.forward
    assert unobserved(module)


@pytest.mark.usefixtures("_watched_everywhere")
def test_a_hook_on_all_modules_observes_each() -> None:
    """The registry that torch has for these is looked at."""
    assert not unobserved(torch.nn.Linear(4, 4))


def test_a_class_with_a_call_of_its_own_is_observed() -> None:
    """That call does what it does."""
    assert not unobserved(OwnCall(4, 4))


def test_under_autocast_and_tracing_everything_counts_as_observed() -> None:
    """There the plain calls are what is wanted."""
    found = []

    def look(x: torch.Tensor) -> torch.Tensor:
        found.append(unobserved())
        return x + 1

    with torch.autocast("cpu", dtype=torch.bfloat16):
        look(torch.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(look, torch.ones(1), check_trace=False)
    torch.compile(look, backend="eager")(torch.ones(1))
    assert len(found) >= 3
    assert not any(found)


GELU = torch.nn.functional.gelu
ACTIVATIONS: dict[str, tuple[Any, str | None]] = {
    "torch's GELU": (torch.nn.GELU(), "gelu"),
    "torch's GELU by tanh": (torch.nn.GELU(approximate="tanh"), None),
    "torch's ReLU": (torch.nn.ReLU(inplace=True), "relu"),
    "torch's ReLU6": (torch.nn.ReLU6(), None),
    "the function gelu": (GELU, "gelu"),
    "the function relu": (torch.nn.functional.relu, "relu"),
    "torch.relu": (torch.relu, "relu"),
    "torch.tanh": (torch.tanh, None),
    "a function of one's own": (lambda x: 2 * GELU(x), None),
    "a subclass": (type("Mine", (torch.nn.GELU,), {})(), None),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_only_the_exact_functions_are_post_ops(name: str) -> None:
    """What is not known to be GELU or ReLU is called as it is."""
    activation, post_op = ACTIVATIONS[name]
    assert post_op_of(activation) == post_op


@pytest.mark.parametrize("name", [name for name in theirs.ACT2CLS if name != "xielu"])
def test_the_functions_of_transformers_are_told_apart(name: str) -> None:
    """A post-op is given to those that equal it, and to no other: eight go by names like GELU."""
    activation, x = theirs.ACT2FN[name], torch.linspace(-12.0, 12.0, 4001)
    post_op = post_op_of(activation)
    assert post_op == {"gelu": "gelu", "relu": "relu"}.get(name)
    if post_op is not None:
        assert torch.equal(activation(x), GELU(x) if post_op == "gelu" else x.relu())


@pytest.mark.parametrize("way", OBSERVING)
def test_an_observed_activation_is_no_post_op(way: str) -> None:
    """Its hooks have to run."""
    activation = torch.nn.GELU()
    OBSERVING[way](activation)
    assert post_op_of(activation) is None


def test_a_dropout_is_left_out_where_it_does_nothing() -> None:
    """In eval mode, or with nothing to drop; never a function, whose doing nobody knows."""
    dropout = torch.nn.Dropout(0.1)
    assert is_identity(None)
    assert not is_identity(dropout.train())
    assert is_identity(dropout.eval())
    assert is_identity(torch.nn.Dropout(0.0).train())
    assert is_identity(torch.nn.Identity())
    assert not is_identity(torch.nn.AlphaDropout().eval())
    assert not is_identity(lambda x: x)
    dropout.register_forward_hook(nothing)
    assert not is_identity(dropout)
