"""What is offered to the search."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ilit.errors import ModelError
from ilit.recipe import FLOAT32, OpConfig
from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.describing.space import INT32_MAX, STRENGTHS, candidates, describe
from ilit_pytorch.engine import kernels
from ilit_pytorch.engine.cpu import is_safe
from ilit_pytorch.model.structure import OpSite
from ilit_pytorch.quantization.qparams import max_activation_code, max_weight_code
from ilit_pytorch.tracing.trace import trace


@pytest.mark.parametrize("saturates", [False, True], ids=["class V", "class A"])
@pytest.mark.parametrize("island", [-1, 0], ids=["outside", "island"])
@pytest.mark.parametrize("kind", ["linear", "conv2d", "embedding"])
def test_every_offer_is_safe_and_can_be_run(kind: str, island: int, saturates: bool) -> None:
    """No pair of codes overflows on a CPU that saturates; smoothing and tokens only where they have a meaning."""
    found = candidates(OpSite(kind, island=island), saturates, bfloat16=True)
    assert found[-1] == FLOAT32
    assert len(set(found)) == len(found)
    for config in (c for c in found if c.quantized):
        if config.smoothing:
            assert (kind, island, config.approach) == ("linear", -1, "static")
            assert config.activation is not None
            assert config.activation.algorithm == "minmax"
        if config.activation is None or config.weight is None:
            assert kind == "embedding"
            continue
        if config.activation.granularity == "per_token":
            assert (kind, config.approach, config.activation.scheme) == ("linear", "dynamic", "sym")
        in_island = island >= 0 and config.approach == "static"
        top = max_activation_code(8 if in_island else config.activation.bits)
        assert not saturates or is_safe(top, max_weight_code(config.weight.bits))
    strengths = {config.smoothing for config in found}
    assert strengths == ({0.0, *STRENGTHS} if (kind, island) == ("linear", -1) else {0.0})
    assert (OpConfig("bfloat16") in found) == ((kind, island) == ("linear", -1))


def test_readers_of_a_stub_are_one_group(sample) -> None:  # type: ignore[no-untyped-def]  # a fixture of conftest
    """Strategies are told which ops read one input; bias correction is offered where an op has a bias."""
    one = sample("shared-stub")
    space = PyTorchAdapter().describe(one.model, one.batches[0])
    assert {name: op.group for name, op in space.ops.items()} == {
        "query": "stub",
        "key": "stub",
        "value": "stub",
        "out": "",
    }
    assert space.transforms == {"bias_correction": (True, False)}
    tokens = torch.nn.Sequential(torch.nn.Embedding(5, 4))
    space = PyTorchAdapter().describe(tokens, (torch.randint(0, 5, (3, 2)), torch.zeros(3)))
    assert space.transforms == {}


@pytest.mark.parametrize("island", [-1, 0], ids=["outside", "island"])
@pytest.mark.parametrize("bits", [(8, 8), (7, 8), (8, 7), (7, 7)])
def test_no_offer_overflows_32_bits(bits: tuple[int, int], island: int) -> None:
    """Codes of so many bits are offered up to the very length at which they fit, and not beyond."""
    weight, activation = bits
    if island >= 0 and activation == 7:
        return
    longest = INT32_MAX // (max_activation_code(activation) * max_weight_code(weight))
    for terms, fits in ((longest, True), (longest + 1, False)):
        found = candidates(OpSite("linear", island=island), saturates=False, terms=terms)
        offered = {
            (config.weight.bits, config.activation.bits)
            for config in found
            if config.weight is not None
            and config.activation is not None
            and (island < 0 or config.approach == "static")
        }
        assert (bits in offered) == fits


@pytest.mark.parametrize("zero_point", [0, 64, 127])
@pytest.mark.parametrize("weight", [63, 127])
def test_the_kernels_sum_as_integers_do_up_to_the_bound(weight: int, zero_point: int) -> None:
    """With all codes at their maximum sums are exact at the bound. Beyond it, what comes depends on the kernel.

    Codes of 127 do not saturate 16 bits on any CPU. What the zero point takes off is exact with the sum.
    """
    terms = INT32_MAX // (127 * weight)
    codes = torch.full((2, terms), 127, dtype=torch.uint8)
    codes[1] = 0
    plain = torch.full((4, terms), weight, dtype=torch.int8)
    plain[1:3] *= -1
    plain[2, ::2] = weight
    found = kernels.linear(kernels.Codes(codes, 1.0, zero_point), kernels.pack_linear(plain), torch.ones(4), None)
    wanted = (codes.double() - zero_point) @ plain.double().t()
    assert torch.allclose(found.double(), wanted, rtol=1e-6, atol=1e-6)


class Wide(torch.nn.Module):
    """A convolution and a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(16, 4, 3, groups=2), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean(dim=(2, 3)))


def test_an_op_too_wide_for_every_code_stays_in_float_and_is_named() -> None:
    """Products are counted over a group's channels and the kernel; (2**31 - 1) / (127 * 63) is 268,401 of them."""
    model = Wide()
    structure = trace(model, (torch.zeros(1, 16, 8, 8), None))
    for kernel, fits in ((89_467, True), (89_468, False)):
        model.conv.weight = torch.nn.Parameter(torch.zeros(1).expand(4, 1, 3, kernel))  # takes no memory
        space = describe(model, structure)
        assert ("conv" in space.ops) == fits
        assert "head" in space.ops
        reason = "its sums of 268404 products do not fit into the 32 bits of the INT8 kernels"
        assert space.left_in_float == ({} if fits else {"conv": reason})
        for config in space.ops["conv"].candidates if fits else ():
            assert config == FLOAT32 or (config.weight.bits, config.activation.bits) == (7, 7)
    with pytest.raises(ModelError, match="Wide has nothing to quantize: conv: its sums of 268404 products do not fit"):
        describe(model, replace(structure, sites={"conv": structure.sites["conv"]}))


def test_what_was_not_reached_is_in_the_space_by_name() -> None:
    """The reason is that of the structure, and a description of all batches finds what one of a batch does not."""

    class Rare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.often, self.rare = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rare(x) if bool(x.sum() > 0) else self.often(x)

    model, adapter = Rare(), PyTorchAdapter()
    low, high = ((torch.full((3, 4), sign), None) for sign in (-1.0, 1.0))
    assert adapter.describe(model, low).left_in_float == {"rare": "the batch looked at does not reach it"}
    for batches, left in (([low, low], {"rare": "no calibration batch reaches it"}), ([low, high], {})):
        space = adapter.describe_all(model, batches, [CalibrationSize(2, "batches")])
        assert dict(space.left_in_float) == left
        assert set(space.ops) == {"often", "rare"} - set(left)
    with pytest.raises(ModelError, match=r"takes a torch\.nn\.Module, not a type"):
        adapter.describe_all(Rare, [low], [CalibrationSize(2, "batches")])
