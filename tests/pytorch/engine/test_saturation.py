"""The emulated kernels against oneDNN's own, which a process held to AVX2 runs on any x86 CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ilit.errors import LoweringError
from ilit_pytorch.engine import kernels, saturation
from ilit_pytorch.engine.kernels import Codes

IN_A_PROCESS = """
import sys, torch
from ilit_pytorch.engine import cpu, kernels
torch.set_num_threads(1)
assert cpu.onednn_saturates()
found = []
for codes, scale, zero_point, weight, *others, geometry, post_op in torch.load(sys.argv[1]):
    activation = kernels.Codes(codes, scale, zero_point)
    if geometry is None:
        found.append(kernels.linear(activation, kernels.pack_linear(weight), *others, post_op))
    else:
        packed = kernels.pack_conv(weight, others[0], geometry)
        found.append(kernels.conv(activation, packed, *others, geometry, post_op))
torch.save(found, sys.argv[2])
"""


class Case(NamedTuple):
    """What a kernel is given; ``geometry`` is None for a Linear."""

    codes: torch.Tensor
    scale: float
    zero_point: int
    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None
    geometry: Any
    post_op: str

    def emulated(self) -> torch.Tensor:
        """Return what the emulation gives."""
        activation = Codes(self.codes, self.scale, self.zero_point)
        if self.geometry is None:
            packed = kernels.pack_linear(self.weight)
            return saturation.linear(activation, packed, self.weight_scale, self.bias, self.post_op)
        packed = kernels.pack_conv(self.weight, self.weight_scale, self.geometry)
        return saturation.conv(activation, packed, self.weight_scale, self.bias, self.geometry, self.post_op)


def case(number: int, activation: tuple[int, ...], weight: tuple[int, ...], geometry: Any = None) -> Case:
    """Return random codes over their full ranges; in every third case weights of one sign, which saturate most."""
    seed = torch.Generator().manual_seed(number)
    codes = torch.randint(0, 256, activation, generator=seed, dtype=torch.uint8)
    if number % 4 == 3 and len(activation) == 4:
        codes = codes.to(memory_format=torch.channels_last)
    weights = torch.randint(-127, 128, weight, generator=seed, dtype=torch.int8)
    bias = torch.randn(weight[0], generator=seed) if number % 2 else None
    scales = torch.rand(weight[0], generator=seed) * 0.01 + 1e-4
    return Case(
        codes, 0.0123, (0, 37, 128, 201, 255)[number % 5], weights.abs() if number % 3 == 0 else weights, scales, bias,
        geometry, ("none", "relu")[number // 2 % 2],
    )  # fmt: skip


def linears() -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield shapes of activation and weight: few features, those around where oneDNN sums in parts, and models' own."""
    few = product(range(1, 71), [(1, 1), (3, 5), (17, 33)])
    around = product([255, 256, 257, 258, 259, 261, 385, 401, 602, 765, 766, 767, 769, 1025, 1537], [(1, 7), (5, 3)])
    models = product([384, 768, 1536, 3072], [(1, 9), (7, 33), (130, 48)])
    for features, (rows, out) in (*few, *around, *models):
        yield (rows, features), (out, features)
    yield (2, 3, 5, 19), (4, 19)


CHANNELS = (
    (1, 1, 1), (1, 1, 5), (1, 3, 8), (1, 3, 64), (1, 4, 4), (1, 7, 3), (1, 17, 33), (1, 64, 16),  # no groups
    (8, 1, 1), (17, 1, 1), (2, 4, 4), (3, 12, 20), (2, 16, 8), (2, 2, 4), (3, 3, 4), (2, 4, 6), (4, 1, 2), (2, 10, 10),
)  # fmt: skip
"""Groups, channels of input and of output a group."""
WINDOWS = (
    (1, 1, 0, 1),
    (1, 2, 0, 1),
    (3, 1, 1, 1),
    (3, 2, 1, 1),
    (2, 1, 0, 1),
    (3, 1, 2, 2),
    (5, 1, 2, 1),
    (3, 1, 5, 1),
)
"""Size of the kernel, stride, padding, dilation."""


def convolutions() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Any]]:
    """Yield shapes of activation and weight, and geometry: 1d to 3d."""
    for axes, (groups, inner, out), (kernel, stride, padding, dilation) in product((1, 2, 3), CHANNELS, WINDOWS):
        geometry = ([stride] * axes, [padding] * axes, [dilation] * axes, groups)
        size = [5 + axis for axis in range(axes)]
        yield (2, groups * inner, *size), (groups * out, inner, *[kernel] * axes), geometry
    yield (1, 3, 40, 31), (16, 3, 7, 7), ([2, 2], [3, 3], [1, 1], 1)
    yield (2, 5, 9, 6), (4, 5, 1, 3), ([1, 2], [0, 1], [1, 1], 1)


CASES = {
    "linear": [case(number, *shapes) for number, shapes in enumerate(linears())],
    "conv": [case(number, *shapes) for number, shapes in enumerate(convolutions())],
}


@pytest.fixture(scope="module", params=list(CASES))
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, Any]]:
    """Return every case with what oneDNN gives in a process of class A."""
    folder: Path = tmp_path_factory.mktemp("kernels")
    cases = CASES[request.param]
    torch.save([tuple(case) for case in cases], folder / "cases.pt")
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IN_A_PROCESS, str(folder / "cases.pt"), str(folder / "found.pt")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, done.stderr
    return list(zip(cases, torch.load(folder / "found.pt"), strict=True))


def test_it_gives_the_kernels_numbers(compared: list[tuple[Case, Any]]) -> None:
    """Every float of every shape, full-range codes, zero points, biases and post-ops are oneDNN's."""
    wrong = [
        (tuple(case.codes.shape), tuple(case.weight.shape), case.geometry, case.zero_point)
        for case, wanted in compared
        if not torch.equal(case.emulated(), wanted)
    ]
    assert wrong == []


def test_the_cases_saturate(compared: list[tuple[Case, Any]]) -> None:
    """Many of them differ from exact sums, so that the comparison shows something."""
    differing = 0
    for case, found in compared:
        values, weight = case.codes.double() - case.zero_point, case.weight.double()
        if case.geometry is None:
            exact = torch.nn.functional.linear(values, weight)
        else:
            function = (torch.conv1d, torch.conv2d, torch.conv3d)[case.codes.ndim - 3]
            stride, padding, dilation, groups = case.geometry
            exact = function(values, weight, None, stride, padding, dilation, groups)
        shape = (-1, *[1] * (case.codes.ndim - 2 if case.geometry else 0))
        exact = exact * case.scale * case.weight_scale.view(shape).double()
        exact = exact if case.bias is None else exact + case.bias.view(shape)
        exact = exact.relu() if case.post_op == "relu" else exact
        differing += not torch.allclose(found.double(), exact, rtol=1e-4, atol=1e-3)
    assert differing > len(compared) / 3


def test_pairs_are_held_within_16_bits() -> None:
    """By hand: neighbours saturate together, the next pair counts anew, and a last one alone cannot."""
    codes = torch.tensor([[255, 255, 255, 255, 255], [255, 0, 0, 255, 255], [128, 130, 0, 0, 0]], dtype=torch.uint8)
    weight = torch.tensor([[127, 127, -127, -127, 127], [127, -127, 1, 1, 1]], dtype=torch.int8)
    alone = 255 * 127
    wanted = [[32767 - 32768 + alone, 2 * 255 + 255], [alone - alone + alone, alone + 510], [128 * 127 + 16510, -254]]
    assert saturation.saturated_sums(codes, weight).tolist() == wanted


@pytest.mark.parametrize("name", ["ROWS", "OUTPUTS", "PRODUCTS"])
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little is held at a time, the sums are the same."""
    codes = torch.randint(0, 256, (13, 21), dtype=torch.uint8)
    weight = torch.randint(-127, 128, (11, 21), dtype=torch.int8)
    wanted = saturation.saturated_sums(codes, weight)
    monkeypatch.setattr(saturation, name, 3)
    assert torch.equal(saturation.saturated_sums(codes, weight), wanted)


def test_no_rows_are_no_rows() -> None:
    """As with the kernels."""
    packed = kernels.pack_linear(torch.ones(3, 5, dtype=torch.int8))
    activation = Codes(torch.zeros(0, 5, dtype=torch.uint8), 1.0, 0)
    assert saturation.linear(activation, packed, torch.ones(3), None).shape == (0, 3)


def test_what_the_kernels_refuse_is_refused() -> None:
    """An input of other features, an input smaller than the window."""
    packed = kernels.pack_linear(torch.ones(3, 5, dtype=torch.int8))
    with pytest.raises(LoweringError, match="4 features"):
        saturation.linear(Codes(torch.zeros(1, 4, dtype=torch.uint8), 1.0, 0), packed, torch.ones(3), None)
    geometry = ([1, 1], [0, 0], [1, 1], 1)
    packed = kernels.pack_conv(torch.ones(3, 5, 3, 3, dtype=torch.int8), torch.ones(3), geometry)
    small = Codes(torch.zeros(1, 5, 2, 2, dtype=torch.uint8), 1.0, 0)
    with pytest.raises(LoweringError, match="smaller than the kernel"):
        saturation.conv(small, packed, torch.ones(3), None, geometry)
