"""Islands between torch's stubs run INT8 in every mixture, and agree with float arithmetic on the same codes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.ao.nn.intrinsic import ConvReLU1d, ConvReLU2d, ConvReLU3d, LinearReLU
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub

from ilit_pytorch.modules.island import IslandFloat, IslandFunctional, IslandMapped, IslandOp, IslandStart

OPS = ("conv1", "conv2", "conv3", "head")


class Island(torch.nn.Module):
    """Some modules one after the other between two stubs."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        super().__init__()
        self.quant, self.body, self.dequant = QuantStub(), torch.nn.Sequential(*modules), DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.body(self.quant(x)))


def float_of(value: Any) -> Any:
    """Return a quantized tensor dequantized, anything else as it is."""
    return value.dequantize() if isinstance(value, torch.Tensor) and value.is_quantized else value


def reference(lowered: IslandOp, original: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return in float64 what an INT8 op must give before rounding: dequantized weight, dequantized input."""
    weight = lowered.tensors()["weight"].double()
    weight = weight * lowered.weight_scale.double().reshape(-1, *[1] * (weight.ndim - 1))
    inner = original[0] if isinstance(original, torch.nn.Sequential) else original
    bias = None if lowered.bias is None else lowered.bias.double()
    if isinstance(inner, torch.nn.Linear):
        output = torch.nn.functional.linear(x.double(), weight, bias)
    else:
        function = {3: torch.nn.functional.conv1d, 4: torch.nn.functional.conv2d, 5: torch.nn.functional.conv3d}
        output = function[weight.ndim](
            x.double(), weight, bias, inner.stride, inner.padding, inner.dilation, inner.groups
        )  # type: ignore[operator]  # one of three functions
    return output.relu() if isinstance(original, torch.nn.Sequential) else output


def one_step(found: torch.Tensor, wanted: torch.Tensor, scale: float, zero_point: int) -> bool:
    """Whether the codes are those of the wanted values, at most one step away where a half is rounded otherwise."""
    codes = (wanted.double() / scale).round().add(zero_point).clamp(0, 255)
    return bool((found.int_repr().double() - codes).abs().max() <= 1)


def check_op_by_op(lowered: torch.nn.Module, float_model: torch.nn.Module, run: Callable[[], Any]) -> set[str]:
    """Run a lowered model and compare each island module's output with a reference on that module's own input."""
    checked: set[str] = set()

    def compare(path: str) -> Callable[..., None]:
        original = float_model.get_submodule(path)

        def hook(module: Any, args: Any, output: Any) -> None:
            inputs = [float_of(arg) for arg in args]
            if isinstance(module, IslandOp):
                wanted = reference(module, original, inputs[0])
            elif isinstance(module, IslandStart):
                wanted = inputs[0]
            elif path.endswith(("pool", "average", "flatten", "dropout")) and output.is_quantized:
                wanted = original(inputs[0])  # run on codes: the input's scale stays
                assert one_step(output, wanted, output.q_scale(), output.q_zero_point()), path
                checked.add(path)
                return
            elif isinstance(module, IslandFloat | IslandMapped):
                wanted = original(*inputs)
            else:
                return
            assert output.is_quantized, path
            assert (output.q_scale(), output.q_zero_point()) == pytest.approx(
                (module.params.scale, module.params.zero_point)
            )
            assert one_step(output, wanted, module.params.scale, module.params.zero_point), path
            checked.add(path)

        return hook

    handles = [
        module.register_forward_hook(compare(path))
        for path, module in lowered.named_modules()
        if path and not path.endswith((".original", ".quantized")) and hasattr_path(float_model, path)
    ]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return checked


def hasattr_path(model: torch.nn.Module, path: str) -> bool:
    """Whether the float model has a module at that path."""
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


MIXTURES = [tuple(op for op, on in zip(OPS, bits, strict=True) if on) for bits in itertools.product((1, 0), repeat=4)]


@pytest.mark.parametrize("static", MIXTURES, ids=lambda ops: "+".join(ops) or "none")
def test_every_float_and_int8_mixture_agrees_with_a_reference(stubbed: Any, static: tuple[str, ...]) -> None:
    """Each op in INT8 or float, in any mixture: every module gives the codes of float arithmetic on its own input."""
    lowered = stubbed.lower(static=static)
    checked = check_op_by_op(lowered, stubbed.model, lambda: stubbed.run(lowered))
    everything = {"quant", *OPS, "norm3", "gelu", "pool", "average", "flatten", "dropout"}
    assert checked == (everything if static else set())
    assert stubbed.adapter.int8_kernels(lowered) == len(static)
    assert stubbed.close(lowered, 0.1)  # some ten roundings, each of 1 / 255 of an activation's range, pass on
    assert np.array_equal(stubbed.run(lowered), stubbed.run()) == (not static)


@pytest.mark.parametrize("dynamic", ["head"], ids="dynamic {}".format)
def test_a_dynamic_op_in_an_active_island(stubbed: Any, dynamic: str) -> None:
    """A dynamic op among static ones is fed float and its output becomes codes again."""
    lowered = stubbed.lower(static=OPS[:3], dynamic=[dynamic])
    assert isinstance(lowered.get_submodule(dynamic), IslandFloat)
    assert stubbed.adapter.int8_kernels(lowered) == len(OPS)
    assert stubbed.close(lowered, 0.1)


def test_a_dynamic_op_in_an_idle_island(stubbed: Any) -> None:
    """With no static op the stubs stay what they were, and the dynamic op reads float."""
    lowered = stubbed.lower(dynamic=["head"])
    assert type(lowered.quant) is QuantStub
    assert stubbed.adapter.int8_kernels(lowered) == 1
    assert stubbed.close(lowered, 0.03)


def test_what_lies_between_the_stubs_is_int8(stubbed: Any) -> None:
    """Every module between the stubs hands on a quantized tensor, the skip connection's sum included."""
    lowered, seen = stubbed.lower(static=stubbed.ops), {}
    inside = ("quant", "conv1", "conv2", "conv3", "norm3", "gelu", "pool", "average", "flatten", "dropout", "head")
    for name in inside:
        lowered.get_submodule(name).register_forward_hook(lambda _m, _i, y, name=name: seen.update({name: y}))
    output = lowered(stubbed.inputs)
    assert {name for name, value in seen.items() if value.is_quantized} == set(inside)
    assert isinstance(lowered.plus, IslandFunctional)
    assert not output.is_quantized


BODIES: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: torch.nn.Linear(6, 5), (4, 6)),
    "linear 3 axes": (lambda: torch.nn.Linear(6, 5), (2, 4, 6)),
    "linear no bias": (lambda: torch.nn.Linear(6, 5, bias=False), (4, 6)),
    "linear relu": (lambda: LinearReLU(torch.nn.Linear(6, 5), torch.nn.ReLU()), (4, 6)),
    "conv1d": (lambda: torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
    "conv1d relu": (lambda: ConvReLU1d(torch.nn.Conv1d(4, 6, 3, bias=False), torch.nn.ReLU()), (2, 4, 9)),
    "conv2d strided": (lambda: torch.nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 9, 9)),
    "conv2d depthwise": (lambda: torch.nn.Conv2d(4, 4, 3, groups=4), (2, 4, 9, 9)),
    "conv2d same dilated": (lambda: torch.nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 9, 9)),
    "conv2d relu": (lambda: ConvReLU2d(torch.nn.Conv2d(4, 6, (3, 1), padding=(0, 1)), torch.nn.ReLU()), (2, 4, 9, 9)),
    "conv3d": (lambda: torch.nn.Conv3d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 6, 6, 6)),
    "conv3d relu": (lambda: ConvReLU3d(torch.nn.Conv3d(4, 6, 2), torch.nn.ReLU()), (2, 4, 6, 6, 6)),
}


@pytest.mark.parametrize("name", BODIES)
def test_each_op_in_an_island_agrees_with_a_reference(bench: Callable[..., Any], name: str) -> None:
    """Every kind, fused or not, in every geometry gives the codes of float arithmetic."""
    make, shape = BODIES[name]
    subject = bench(Island(make()), torch.randn(shape))
    lowered = subject.lower(static=["body.0"])
    assert check_op_by_op(lowered, subject.model, lambda: subject.run(lowered)) == {"quant", "body.0"}


UNBATCHED = {
    "linear": (lambda: torch.nn.Linear(6, 5), (6,)),
    "conv1d": (lambda: torch.nn.Conv1d(4, 6, 3), (4, 9)),
    "conv2d": (lambda: torch.nn.Conv2d(4, 6, 3), (4, 9, 9)),
}


@pytest.mark.parametrize("name", UNBATCHED)
def test_a_single_unbatched_row(bench: Callable[..., Any], name: str) -> None:
    """What torch's float op takes without a batch axis, its INT8 form takes as well."""
    make, shape = UNBATCHED[name]
    subject = bench(Island(make()), torch.randn(shape))
    assert subject.run(subject.lower(static=subject.ops)).shape == subject.run().shape
    assert subject.close(subject.lower(static=subject.ops), 0.05)


OTHERS: dict[str, Callable[[], torch.nn.Module]] = {
    "relu": lambda: torch.nn.ReLU(inplace=True), "relu6": torch.nn.ReLU6, "leaky relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU, "hardswish": torch.nn.Hardswish, "hardtanh": torch.nn.Hardtanh, "sigmoid": torch.nn.Sigmoid,
    "softmax": lambda: torch.nn.Softmax(1), "prelu": torch.nn.PReLU, "gelu": torch.nn.GELU,
    "batch norm": lambda: torch.nn.BatchNorm2d(4), "group norm": lambda: torch.nn.GroupNorm(2, 4),
    "instance norm": lambda: torch.nn.InstanceNorm2d(4), "layer norm": lambda: torch.nn.LayerNorm(8),
    "max pool": lambda: torch.nn.MaxPool2d(3, 2, 1, ceil_mode=True), "average pool": lambda: torch.nn.AvgPool2d(2),
    "adaptive pool": lambda: torch.nn.AdaptiveAvgPool2d((2, 3)), "zero pad": lambda: torch.nn.ZeroPad2d(1),
    "nearest": lambda: torch.nn.Upsample(scale_factor=2), "shuffle": lambda: torch.nn.ChannelShuffle(2),
    "bicubic": lambda: torch.nn.Upsample(scale_factor=2, mode="bicubic"),
    "pixel shuffle": lambda: torch.nn.PixelShuffle(2), "transposed": lambda: torch.nn.ConvTranspose2d(4, 4, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_lies_in_an_island_runs(bench: Callable[..., Any], name: str) -> None:
    """Norms, activations, pools and what torch cannot quantize run between the stubs and stay near float."""
    subject = bench(Island(torch.nn.Conv2d(4, 4, 3, padding=1), OTHERS[name]()), torch.randn(3, 4, 8, 8))
    lowered = subject.lower(static=["body.0"])
    output: list[torch.Tensor] = []
    lowered.body.register_forward_hook(lambda _m, _i, y: output.append(y))
    assert subject.close(lowered, 0.03)  # three roundings of 1 / 255 and 7-bit weights, amplified by norms
    assert output[0].is_quantized


class TwoStubs(torch.nn.Module):
    """Two stubs; ``meet``: their activations are added, else they are two islands. One stub's output is used twice."""

    def __init__(self, meet: bool) -> None:
        super().__init__()
        self.meet, self.left_quant, self.right_quant = meet, QuantStub(), QuantStub()
        self.left, self.right, self.again = (torch.nn.Linear(4, 4) for _ in range(3))
        self.plus, self.dequant, self.dequant2 = FloatFunctional(), DeQuantStub(), DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, z = self.left_quant(x), self.right_quant(2 * x)
        left, again, right = self.left(x), self.again(x), self.right(z)
        if self.meet:
            return self.dequant(self.plus.add(self.plus.add(left, again), right))
        return self.dequant(self.plus.add(left, again)) + self.dequant2(right)


@pytest.mark.parametrize(("meet", "islands"), [(True, 1), (False, 2)], ids=["joined", "apart"])
def test_stubs_whose_activations_meet_are_one_island(bench: Callable[..., Any], meet: bool, islands: int) -> None:
    """Data, not names, says what is one island; in every mixture the model runs near float."""
    subject = bench(TwoStubs(meet), torch.randn(16, 4))
    assert len(subject.calibration.structure.islands) == islands
    for chosen in itertools.product((True, False), repeat=3):
        static = [op for op, on in zip(subject.ops, chosen, strict=True) if on]
        lowered = subject.lower(static=static)
        assert subject.close(lowered, 0.05), static
        assert subject.adapter.int8_kernels(lowered) == len(static)


class UsedInBoth(torch.nn.Module):
    """One Linear, one norm and one GELU that serve two islands, or an island and what is outside of it."""

    def __init__(self, outside: bool) -> None:
        super().__init__()
        self.outside, self.quant, self.quant2, self.dequant = outside, QuantStub(), QuantStub(), DeQuantStub()
        self.own, self.fc, self.gelu = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.GELU()
        self.norm = torch.nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.dequant(self.norm(self.gelu(self.fc(self.own(self.quant(x))))))
        second = x if self.outside else self.quant2(x)
        second = self.norm(self.gelu(self.fc(second)))
        return first + (second if self.outside else self.dequant(second))


@pytest.mark.parametrize("outside", [False, True], ids=["two islands", "inside and outside"])
def test_modules_used_in_several_places(bench: Callable[..., Any], outside: bool) -> None:
    """A module has one lowered form, and it serves wherever the model uses it."""
    subject = bench(UsedInBoth(outside), torch.randn(16, 4))
    for static in itertools.chain.from_iterable(itertools.combinations(subject.ops, n) for n in range(3)):
        assert subject.close(subject.lower(static=static), 0.05), static


class Scalars(torch.nn.Module):
    """FloatFunctional's calls that torch does not observe, beside the ones it does."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.fc, self.dequant = QuantStub(), torch.nn.Linear(4, 4), DeQuantStub()
        self.add, self.scale, self.both = FloatFunctional(), FloatFunctional(), FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(self.quant(x))
        z = self.scale.mul_scalar(self.add.add_scalar(y, 0.5), 2.0)
        return self.dequant(self.both.cat([self.both.mul(y, z), self.both.add_relu(y, z)], 1))


def test_every_call_of_float_functional(bench: Callable[..., Any]) -> None:
    """Sums, products, joins and scalars run on codes."""
    subject = bench(Scalars(), torch.randn(16, 4))
    assert subject.close(subject.lower(static=["fc"]), 0.05)


def test_an_island_runs_without_no_grad(stubbed: Any) -> None:
    """The owner may call a lowered model outside ``torch.no_grad``."""
    lowered = stubbed.lower(static=("conv1", "head"))
    assert np.array_equal(lowered(stubbed.inputs).detach().numpy(), stubbed.run(lowered))
