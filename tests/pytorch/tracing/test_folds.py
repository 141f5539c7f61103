"""A BatchNorm is folded into a convolution only where nothing else sees what stands between them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import relu

from ilit_pytorch.model.structure import Fold
from ilit_pytorch.tracing.folds import find_folds
from ilit_pytorch.tracing.trace import trace

X = torch.randn(2, 3, 8, 8)


class Net(torch.nn.Module):
    """A convolution with a BatchNorm and ReLU behind it, in the way that ``run`` says."""

    def __init__(self, run: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        self.other, self.run, self.held = torch.nn.Conv2d(3, 4, 3), run, [torch.empty(0)]

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self, x)


def holds(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Save what the convolution gives, to be looked at later."""
    net.held[0] = net.conv(x)
    return net.norm(net.held[0])


def in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Read what a ReLU in place has written, which is its output."""
    net.relu.inplace = True
    y = net.norm(net.conv(x))
    net.relu(y)
    return y.sum(1) + y.mean()


def in_training_mode(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Normalize by the batch, whatever mode the model is in."""
    net.norm.train()
    return net.norm(net.conv(x))


ALL, NORM = Fold("norm", "relu"), Fold("norm")
FOUND: dict[str, tuple[Callable[[Any, torch.Tensor], Any], Fold]] = {
    "with ReLU": (lambda net, x: net.relu(net.norm(net.conv(x))), ALL),
    "a ReLU in place": (in_place, ALL),
    "twice": (lambda net, x: net.relu(net.norm(net.conv(x))) + net.relu(net.norm(net.conv(x + 1))), ALL),
    "its shape is asked for": (lambda net, x: net.norm((y := net.conv(x)) if len(x.shape) else y).relu(), NORM),
    "a function": (lambda net, x: relu(net.norm(net.conv(x))), NORM),
    "a ReLU used elsewhere": (lambda net, x: net.relu(net.norm(net.conv(x))) + net.relu(net.other(x)), NORM),
    "more than a ReLU": (lambda net, x: (y := net.norm(net.conv(x))) + net.relu(y), NORM),
    "returned": (lambda net, x: net.norm(net.conv(x)), NORM),
    "by keyword": (lambda net, x: net.relu(input=net.norm(input=net.conv(x))), ALL),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_read_by_one_module_alone_is_folded(name: str) -> None:
    """A ReLU too, if it is a module that reads nothing else."""
    run, fold = FOUND[name]
    net = Net(run).eval()
    assert find_folds(net, trace(net, (X, None)), X) == {"conv": fold}


def hooked(net: Net) -> None:
    """Put a hook on the BatchNorm."""
    net.norm.register_forward_hook(lambda *_: None)


def changed(**attributes: Any) -> Callable[[Net], None]:
    """Return a function that sets attributes of the BatchNorm."""
    return lambda net: vars(net.norm).update(attributes)


def plain(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Give what could be folded."""
    return net.norm(net.conv(x))


def nothing(_: Net) -> None:
    """Change nothing."""


REFUSED: dict[str, tuple[Callable[[Any, torch.Tensor], Any], Callable[[Net], Any], str]] = {
    "read twice": (lambda net, x: net.norm(y := net.conv(x)) + y, nothing, "output also goes to the function add"),
    "returned": (lambda net, x: (net.norm(y := net.conv(x)), y), nothing, "goes to what the model returns"),
    "held": (holds, nothing, "goes to whatever holds it after the forward"),
    "shared": (
        lambda net, x: net.norm(net.conv(x)) + net.norm(net.other(x)), nothing, "it also normalizes what other gives"
    ),
    "of an input": (
        lambda net, x: net.norm(net.conv(x)) + net.norm(x[:, :1].expand(-1, 4, -1, -1)).mean(), nothing,
        "it also normalizes what another module gives",
    ),
    "hooked": (plain, hooked, "hooks stand on one of the two"),
    "conv hooked": (plain, lambda net: net.conv.register_forward_pre_hook(lambda *_: None), "hooks stand on one"),
    "no statistics": (
        plain, lambda net: setattr(net, "norm", torch.nn.BatchNorm2d(4, track_running_stats=False).eval()),
        "it has no running statistics",
    ),
    "training": (in_training_mode, nothing, "it runs in training mode"),
    "computed": (plain, lambda net: torch.nn.utils.weight_norm(net.conv), "hooks stand on one"),
    "normed": (
        plain, lambda net: torch.nn.utils.parametrizations.weight_norm(net.conv), "the convolution's weight is computed"
    ),
    "parametrized": (
        plain, lambda net: torch.nn.utils.parametrize.register_parametrization(net.norm, "bias", torch.nn.Identity()),
        "its parameters are computed",
    ),
    "patched": (plain, changed(forward=torch.nn.Identity().forward), "its forward is patched"),
    "double": (lambda net, x: net.norm(net.conv(x).double()), lambda net: net.norm.double(), ""),
    "infinite": (plain, lambda net: net.norm.running_mean.fill_(torch.inf), "not all finite"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_left_as_it_is(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says why."""
    run, change, reason = REFUSED[name]
    net = Net(run).eval()
    change(net)
    with caplog.at_level(logging.INFO, "ilit.pytorch"):
        assert find_folds(net, trace(net, (X, None)), X) == {}
    assert reason in caplog.text


def test_channels_are_not_taken_for_rows() -> None:
    """BatchNorm1d takes an unbatched row's channels for rows."""
    net = torch.nn.Sequential(torch.nn.Conv1d(3, 6, 3), torch.nn.BatchNorm1d(6)).eval()
    for shape, found in (((2, 3, 8), {"0": Fold("1")}), ((3, 8), {})):
        x = torch.randn(shape)
        assert find_folds(net, trace(net, (x, None)), x) == found


def test_between_torchs_stubs_nothing_is_folded(nets: Any) -> None:
    """There torch's own modules do it."""
    net, x = nets.StubbedConvNet().eval(), torch.randn(2, 1, 8, 8)
    assert find_folds(net, trace(net, (x, None)), x) == {}


def test_the_model_is_untouched() -> None:
    """It is looked at through a clone."""
    net = Net(plain).eval()
    before = {name: sorted(vars(module)) for name, module in net.named_modules()}
    find_folds(net, trace(net, (X, None)), X)
    assert {name: sorted(vars(module)) for name, module in net.named_modules()} == before
    assert not net.norm._forward_hooks
    assert not net.conv._forward_hooks
