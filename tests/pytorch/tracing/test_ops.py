"""Which modules are ops, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.ao.nn.intrinsic import ConvReLU2d, LinearReLU

from ilit_pytorch.tracing.ops import has_hooks, inner_op, is_fused, op_kind, why_float


class Own(torch.nn.Linear):
    """A forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Called(torch.nn.Linear):
    """A ``__call__`` of its own."""

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)


class Saved(torch.nn.Linear):
    """Extra state of its own."""

    def get_extra_state(self) -> int:
        return 1

    def set_extra_state(self, state: int) -> None:
        pass


class Named(torch.nn.Linear):
    """Nothing of its own but its name."""


def changed(**attributes: Any) -> torch.nn.Linear:
    """Return a Linear with these attributes set."""
    op = torch.nn.Linear(4, 4)
    vars(op).update(attributes)
    return op


def fused_with_a_hook() -> LinearReLU:
    """Return torch's fused form with a hook on the Linear in it."""
    op = LinearReLU(torch.nn.Linear(4, 4), torch.nn.ReLU())
    op[0].register_forward_hook(lambda *_: None)
    return op


def with_a_state_hook() -> torch.nn.Linear:
    """Return a Linear whose owner changes its state dict."""
    op = torch.nn.Linear(4, 4)
    op.register_state_dict_post_hook(lambda *_: None)
    return op


KINDS: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "linear": (lambda: torch.nn.Linear(4, 4), "linear"),
    "named": (lambda: Named(4, 4), "linear"),
    "conv1d": (lambda: torch.nn.Conv1d(4, 4, 3), "conv1d"),
    "fused": (lambda: ConvReLU2d(torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU()), "conv2d"),
    "padded": (lambda: torch.nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "conv2d"),
    "conv3d": (lambda: torch.nn.Conv3d(4, 4, 3), "conv3d"),
    "embedding": (lambda: torch.nn.Embedding(4, 4), "embedding"),
    "normed": (lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 4)), "linear"),
}
FLOATS: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "patched": (lambda: changed(forward=lambda x: x), "its forward is patched"),
    "forward": (lambda: Own(4, 4), "its class Own has a forward of its own"),
    "call": (lambda: Called(4, 4), "its class Called has a __call__ of its own"),
    "extra state": (lambda: Saved(4, 4), "its class Saved has a state dict of its own"),
    "state hook": (with_a_state_hook, "hooks on its state dict speak of its float weight"),
    "attribute": (lambda: changed(packed=1), "it has a 'packed' of its own"),
    "hook inside": (fused_with_a_hook, "hooks stand on what is fused in it"),
    "max_norm": (lambda: torch.nn.Embedding(4, 4, max_norm=1.0), "its max_norm changes the weight"),
    "dtype": (lambda: torch.nn.Linear(4, 4).double(), "its weight is float64, not float32"),
    "scripted": (lambda: torch.jit.trace(torch.nn.Linear(4, 4), torch.randn(2, 4)), "it is scripted or traced"),
}


@pytest.mark.parametrize("name", KINDS)
def test_ops_have_a_kind(name: str) -> None:
    """By what their forward does; a fused form has the kind of the op in it."""
    make, kind = KINDS[name]
    assert (op_kind(make()), why_float(make())) == (kind, "")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_what_an_int8_module_cannot_stand_for_stays_in_float(name: str) -> None:
    """The reason is named."""
    make, reason = FLOATS[name]
    module = make()
    assert op_kind(module) is None
    assert reason in why_float(module)


@pytest.mark.parametrize("module", [torch.nn.ReLU(), torch.nn.LayerNorm(4), torch.nn.Sequential(torch.nn.Linear(4, 4))])
def test_of_other_modules_nothing_is_said(module: torch.nn.Module) -> None:
    """They were never to be quantized."""
    assert (op_kind(module), why_float(module)) == (None, "")


def test_the_op_in_a_fused_form_is_found() -> None:
    """Of any other module it is the module itself; hooks are asked of the very module."""
    op = torch.nn.Linear(4, 4)
    fused = LinearReLU(op, torch.nn.ReLU())
    assert (inner_op(fused), inner_op(op), is_fused(fused), is_fused(op)) == (op, op, True, False)
    fused.register_forward_pre_hook(lambda *_: None)
    assert (has_hooks(fused), has_hooks(op)) == (True, False)
