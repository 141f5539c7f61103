"""Folds are tried in float before the search, and those that change the answers are left."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit_pytorch.describing.folding import with_folds
from ilit_pytorch.model.structure import Fold
from ilit_pytorch.tracing.trace import trace


@functools.cache
def traced_mean() -> Any:
    """Return a function of which Python does not see that it reads an activation."""
    return torch.jit.trace(torch.mean, torch.ones(2, 2))


class Net(torch.nn.Module):
    """Two convolutions with BatchNorms; ``run`` says what is done with the first one's."""

    def __init__(self, run: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        self.last, self.last_norm = torch.nn.Conv2d(4, 4, 3), torch.nn.BatchNorm2d(4)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last_norm(self.last(self.run(self, x)))


def plain(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Do nothing unusual."""
    return net.relu(net.norm(net.conv(x)))


def by_class(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Look at the class of the norm."""
    return plain(net, x) * (2.0 if isinstance(net.norm, torch.nn.BatchNorm2d) else 1.0)


def by_method(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Call what only BatchNorms have."""
    net.norm._check_input_dim(x)
    return plain(net, x)


def random(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Draw numbers in each forward."""
    return plain(net, x) + torch.rand(())


BOTH = {"conv": Fold("norm", "relu"), "last": Fold("last_norm")}
LAST = {"last": Fold("last_norm")}
CASES: dict[str, tuple[Callable[[Any, torch.Tensor], torch.Tensor], dict[str, Fold], str]] = {
    "plain": (plain, BOTH, "2 BatchNorms and 1 ReLUs are folded"),
    "scripted": (lambda net, x: net.norm(y := net.conv(x)) * traced_mean()(y), LAST, "norm is not folded into conv"),
    "by class": (by_class, LAST, "norm is not folded into conv: folded, the float model answers differently, by"),
    "by method": (by_method, LAST, "norm is not folded into conv: with it folded the forward raises AttributeError"),
    "random": (random, BOTH, "2 BatchNorms"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_only_folds_that_leave_the_answers_are_made(nets: Any, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """To float32's rounding; what speaks against one does not cost another."""
    run, folds, text = CASES[name]
    net, x = nets.settled(Net(run), 3, 8, 8).eval(), torch.randn(6, 3, 8, 8)
    with caplog.at_level(logging.INFO, "ilit.pytorch"):
        assert with_folds(net, trace(net, (x, None)), x).folds == folds
    assert text in caplog.text


def test_a_model_without_norms_has_no_folds(nets: Any) -> None:
    """Nor is it run for that."""
    net = nets.mlp().eval()
    structure = trace(net, (torch.randn(2, 8), None))
    assert with_folds(net, structure, torch.randn(2, 8)) is structure
