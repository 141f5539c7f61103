"""What a forward does not take an INT8 module for is found before the search, and named with its reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.modules.conv import Int8Conv
from ilit_pytorch.modules.embedding import Int8Embedding
from ilit_pytorch.modules.island import IslandOp
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.tracing.ops import RESERVED as RESERVED_NAMES


class Net(torch.nn.Module):
    """Three Linears, the middle one looked at before it is called."""

    def __init__(self, look: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first, self.middle, self.last = (torch.nn.Linear(8, 8) for _ in range(3))
        self.look = look

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        self.look(self)
        return self.last(self.middle(x).relu())


def insists(net: Any) -> None:
    """Take nothing but torch's own class."""
    if type(net.middle) is not torch.nn.Linear:
        raise TypeError("the middle must be a plain layer")


def writes(net: Any) -> None:
    """Write into the weight before it is used."""
    with torch.no_grad():
        net.middle.weight.mul_(1.0)


def sets(net: Any) -> None:
    """Put another weight in its place."""
    net.middle.weight = torch.nn.Parameter(net.middle.weight.detach().clone())


REFUSING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "its class": (insists, "TypeError: the middle must be a plain layer"),
    "a method": (lambda net: net.middle.reset_parameters, "AttributeError"),
    "a write": (writes, "cannot be written"),
    "another weight": (sets, "weight"),
}
TAKING: dict[str, Callable[[Any], Any]] = {
    "dtype": lambda net: net.middle.weight.dtype,
    "sizes": lambda net: (net.middle.in_features, net.middle.weight.shape, net.middle.bias.shape),
    "device": lambda net: next(net.middle.parameters()).device,
    "values": lambda net: float(net.middle.weight.abs().sum()),
}


def described(model: torch.nn.Module, *shape: int) -> tuple[set[str], dict[str, str]]:
    """Return the ops that may run in INT8 and those left in float."""
    adapter = PyTorchAdapter()
    space = adapter.describe(model, (torch.randn(*shape), None))
    return set(space.ops), dict(adapter._structures[model].left)


@pytest.mark.parametrize("name", REFUSING)
def test_what_a_forward_refuses_stays_in_float(name: str) -> None:
    """With what it raised as the reason; its neighbours are ops as before."""
    look, reason = REFUSING[name]
    ops, left = described(Net(look), 16, 8)
    assert ops == {"first", "last"}
    assert reason in left["middle"]


@pytest.mark.parametrize("name", TAKING)
def test_what_a_forward_reads_is_there(name: str) -> None:
    """So nothing stays in float for it."""
    assert described(Net(TAKING[name]), 16, 8) == ({"first", "middle", "last"}, {})


def test_another_way_through_the_model_is_noticed() -> None:
    """A forward that does something else for what is no Linear, without raising, is not taken for the same function."""

    class Branching(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            x = self.middle(x) if isinstance(self.middle, torch.nn.Linear) else x
            return self.last(x)

    ops, left = described(Branching(lambda net: None), 16, 8)
    assert ops == {"first", "last"}
    assert left == {"middle": "with an INT8 module in its place the forward goes another way"}


def test_a_random_model_keeps_its_ops() -> None:
    """Answers that differ by chance are no other way through the model."""

    class Random(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().forward(x), 0.5, training=True)

    assert described(Random(lambda net: None), 16, 8) == ({"first", "middle", "last"}, {})


def test_a_model_that_takes_no_few_rows_is_tried_on_all() -> None:
    """A forward that insists on its number of rows is checked like any other."""

    class Sixteen(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.reshape(16, 8))

    ops, left = described(Sixteen(insists), 16, 8)
    assert (ops, list(left)) == ({"first", "last"}, ["middle"])


PATCHES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "forward": (lambda op: setattr(op, "forward", op.forward), "its forward is patched"),
    "class call": (lambda op: setattr(op, "__class__", Called), "its class Called has a __call__ of its own"),
    "class forward": (lambda op: setattr(op, "__class__", Own), "its class Own has a forward of its own"),
    "dtype": (lambda op: op.to(torch.float64) and None, "its weight is float64, not float32"),
}


class Called(torch.nn.Linear):
    """Does more than its forward."""

    def __call__(self, x: torch.Tensor) -> Any:
        return super().__call__(x) * 2


class Own(torch.nn.Linear):
    """Does something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


@pytest.mark.parametrize("name", PATCHES)
def test_what_is_patched_stays_in_float(name: str) -> None:
    """An op whose call its owner has replaced is named; nothing of the patch is lost."""
    patch, reason = PATCHES[name]

    class Casting(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.last(self.middle(x.to(self.middle.weight.dtype)).float())

    model = Casting(lambda net: None)
    patch(model.middle)
    ops, left = described(model, 16, 8)
    assert ops == {"first", "last"}
    assert left == {"middle": reason}


RESERVED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "parameter": (lambda op: op.register_parameter("weight_scale", torch.nn.Parameter(torch.ones(8))), "weight_scale"),
    "buffer": (lambda op: op.register_buffer("packed", torch.ones(8)), "packed"),
    "attribute": (lambda op: setattr(op, "quantizer", "mine"), "quantizer"),
    "submodule": (lambda op: setattr(op, "post_op", torch.nn.ReLU()), "post_op"),
}


@pytest.mark.parametrize("name", RESERVED)
def test_what_has_our_names_stays_in_float(name: str) -> None:
    """An op's own attribute and a part of the INT8 module's cannot both go by one name."""
    hang, taken = RESERVED[name]
    model = Net(lambda net: None)
    hang(model.middle)
    ops, left = described(model, 16, 8)
    assert ops == {"first", "last"}
    assert f"it has a '{taken}' of its own" in left["middle"]


def test_ops_with_state_of_their_own_stay_in_float() -> None:
    """Extra state and hooks on a state dict speak of the float op."""

    class Extra(torch.nn.Linear):
        def get_extra_state(self) -> Any:
            return 1

        def set_extra_state(self, state: Any) -> None:
            pass

    model = Net(lambda net: None)
    model.middle.__class__ = Extra
    model.last.register_state_dict_post_hook(lambda *_: None)
    ops, left = described(model, 16, 8)
    assert ops == {"first"}
    assert "state dict of its own" in left["middle"]
    assert "hooks on its state dict" in left["last"]


def test_a_forward_that_takes_gradients_keeps_its_op_in_float() -> None:
    """As of energies and forces: the gradient would have to go through the INT8 op."""

    class Force(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(self.middle(x).sum(), x)[0] + self.first(x).detach()

    model = Force(lambda net: None)
    adapter = PyTorchAdapter()
    adapter.describe(model, (torch.randn(16, 8), None))
    left = adapter._structures[model].left
    assert "has no gradient" in left["middle"]


def test_a_scripted_layer_is_named() -> None:
    """Its neighbours are ops as before."""
    model = Net(lambda net: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has deprecated scripting
        model.middle = torch.jit.script(model.middle)
    ops, left = described(model, 16, 8)
    assert (ops, left) == ({"first", "last"}, {"middle": "it is scripted or traced; put the eager module there"})


@pytest.mark.parametrize("place", ["stub", "reader"])
def test_hooks_behind_a_stub_are_given_tensors(bench: Callable[..., Any], nets: Any, place: str) -> None:
    """What a stub shares is for INT8 ops only, so where a hook would be given it nothing is shared."""
    model = nets.SharedReaders()
    module = model.stub if place == "stub" else model.query
    module.register_forward_hook(lambda _own, args, output: output + torch.tanh(args[0]))
    subject = bench(model, torch.randn(64, 8))
    assert subject.close(subject.lower(static=subject.ops), 0.1)


class BetweenStubs(torch.nn.Module):
    """Adds two quantized tensors with a plus, which torch's quantized tensors do not take."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = TorchQuantStub(), DeQuantStub()
        self.a, self.b, self.head = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(x)
        return self.head(self.dequant(self.a(x) + self.b(x)))


def test_what_cannot_pass_between_stubs_runs_without_them(
    bench: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The ops there are quantized like any others, and the log says why."""
    subject = bench(BetweenStubs(), torch.randn(64, 8))
    lowered = subject.lower(static=subject.ops)
    assert set(subject.ops) == {"a", "b", "head"}
    assert subject.close(lowered, 0.05)
    assert "run as if these were not there: NotImplementedError" in caplog.text


def test_hooks_between_stubs_are_given_float_tensors(bench: Callable[..., Any], stubbed: Any) -> None:
    """An island with a hook in it is no island."""
    model = stubbed.model
    seen: list[bool] = []
    model.conv3.register_forward_hook(lambda _own, _args, output: seen.append(output.is_quantized))
    subject = bench(model, stubbed.inputs)
    lowered = subject.lower(static=subject.ops)
    seen.clear()
    subject.run(lowered)
    assert seen == [False]
    assert subject.close(lowered, 0.1)


def test_every_part_of_ours_is_reserved() -> None:
    """A part that is added to an INT8 module is a name that no op in INT8 may have."""
    parts = Int8Linear.made | Int8Conv.made | Int8Embedding.made | IslandOp.made
    assert parts - {"in_features", "out_features", "op", "params", "shape"} <= RESERVED_NAMES
