"""Codes from float values: one law, whichever way they are made, and whoever follows what is computed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from ilit_pytorch.engine import quantize as module
from ilit_pytorch.engine.quantize import quantize, quantize_smoothed

FLOAT32 = st.floats(width=32)
SCALE = st.floats(1e-12, 6e35) | st.sampled_from([1.0, 0.5, 0.1, 1.0 / 59.0])
TOP = st.sampled_from([127, 255])


def both_ways(make: Callable[[], torch.Tensor]) -> Iterator[torch.Tensor]:
    """Make codes by torch's kernel, by our own passes, and by these block by block."""
    yield make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_one_pass_is_exact", lambda: False)
        yield make()
        patch.setattr(module, "BLOCK", 8)
        yield make()


def float32(number: Fraction) -> np.float32:
    """Return the nearest float32, the even one of two."""
    near = np.float32(float(number))
    around = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(around, key=lambda one: (abs(Fraction(float(one)) - number), one.view(np.int32) & 1))


def lawful(value: float, scale: float, zero_point: int, max_code: int) -> int:
    """Return the code in exact numbers: one rounding to float32, one to an integer."""
    if math.isnan(value):
        return max_code
    if math.isinf(value):
        return max_code if value > 0 else 0
    factor = float(np.float32(1.0) / np.float32(scale))
    line = min(max(Fraction(value) * Fraction(factor) + zero_point, Fraction(-1000)), Fraction(1000))
    return min(max(round(float(float32(line))), 0), max_code)


def near_halves(scale: float, zero_point: int) -> list[float]:
    """Return the values around every place where one code ends and the next begins."""
    places = (np.arange(-2, 258) + 0.5 - zero_point) * np.float64(np.float32(scale))
    plain = places.astype(np.float32)
    up, down = np.nextafter(plain, np.float32(np.inf)), np.nextafter(plain, np.float32(-np.inf))
    return [*plain.tolist(), *up.tolist(), *down.tolist()]


@given(scale=SCALE, zero_point=st.integers(0, 127), top=TOP, values=st.lists(FLOAT32, max_size=40), data=st.data())
def test_codes_are_the_exact_ones(
    scale: float, zero_point: int, top: int, values: list[float], data: st.DataObject
) -> None:
    """Every value has the code of exact arithmetic in every way: halves, NaN, infinities, subnormals, huge scales."""
    halves = data.draw(st.lists(st.sampled_from(near_halves(scale, zero_point)), max_size=40))
    wanted = [lawful(value, scale, zero_point, top) for value in values + halves]
    plain = torch.tensor(values + halves, dtype=torch.float32)
    for codes in both_ways(lambda: quantize(plain, scale, zero_point, top)):
        assert codes.tolist() == wanted


@given(scale=SCALE, zero_point=st.integers(0, 255), top=TOP)
def test_both_ways_agree_around_every_half(scale: float, zero_point: int, top: int) -> None:
    """Not one code differs, where it would if product and sum were rounded in turn."""
    plain = torch.tensor(near_halves(scale, min(zero_point, top)), dtype=torch.float32)
    first, *others = both_ways(lambda: quantize(plain, scale, min(zero_point, top), top))
    assert all(torch.equal(first, other) for other in others)


def test_worked_numbers() -> None:
    """Halves go to the even code, zero point included, and 7 bits end at 127."""
    values = torch.tensor([-9.0, -0.5, 0.0, 0.5, 1.5, 2.4, 124.0, 1e9, torch.inf, -torch.inf, torch.nan])
    for codes in both_ways(lambda: quantize(values, 1.0, 3, 127)):
        assert codes.tolist() == [0, 2, 3, 4, 4, 5, 127, 127, 127, 0, 127]
        assert codes.dtype == torch.uint8


@given(data=st.data(), top=TOP)
def test_both_ways_agree_where_smoothed(data: st.DataObject, top: int) -> None:
    """Factor and offset of each channel, and values of any kind."""
    channels = data.draw(st.integers(1, 20))
    row = st.lists(FLOAT32, min_size=channels, max_size=channels)
    values = torch.tensor(data.draw(st.lists(row, min_size=1, max_size=4)), dtype=torch.float32)
    number = st.floats(-1e6, 1e6, width=32)
    factor, offset = (
        torch.tensor(data.draw(st.lists(number, min_size=channels, max_size=channels)), dtype=torch.float32)
        for _ in range(2)
    )
    first, *others = both_ways(lambda: quantize_smoothed(values, factor, offset, top))
    assert all(torch.equal(first, other) for other in others)
    line = torch.addcmul(offset, values, factor)
    assert first.tolist() == [[lawful(value, 1.0, 0, top) for value in row] for row in line.tolist()]


LAYOUTS: dict[str, Callable[[], torch.Tensor]] = {
    "plain": lambda: torch.randn(6, 5),
    "one axis": lambda: torch.randn(40),
    "a number": lambda: torch.randn(()),
    "no rows": lambda: torch.randn(0, 5),
    "no channels": lambda: torch.randn(5, 0),
    "transposed": lambda: torch.randn(5, 6).t(),
    "sliced": lambda: torch.randn(6, 10)[:, ::2],
    "from the middle": lambda: torch.randn(9, 5)[3:],
    "expanded": lambda: torch.randn(1, 5).expand(6, 5),
    "image": lambda: torch.randn(2, 3, 4, 5),
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels last in 3d": lambda: torch.randn(2, 3, 4, 5, 5).to(memory_format=torch.channels_last_3d),
    "permuted": lambda: torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("top", [127, 255])
def test_layouts_and_blocks_make_no_difference(layout: str, top: int) -> None:
    """Each value has its code at its place, and what is contiguous or channels last stays so."""
    values = LAYOUTS[layout]()
    wanted = values.mul(10.0).add(100.0).round().clamp(0, top).to(torch.uint8)
    channels = values.shape[-1] if values.ndim else 1
    factor, offset = torch.full((channels,), 10.0), torch.full((channels,), 100.0)
    for codes in both_ways(lambda: quantize(values, 0.1, 100, top)):
        assert torch.equal(codes, wanted)
        assert "last" not in layout or codes.stride() == values.stride()
    if values.ndim:
        for codes in both_ways(lambda: quantize_smoothed(values, factor, offset, top)):
            assert torch.equal(codes, wanted)


def test_codes_own_their_memory() -> None:
    """They outlive what they were made of, and another call does not write to them."""
    values = torch.randn(64, 64)
    codes = quantize(values, 0.1, 100, 255)
    before = codes.clone()
    values.zero_()
    others = [quantize(torch.randn(64, 64), 0.1, 100, 255) for _ in range(20)]
    assert torch.equal(codes, before)
    assert len({one.data_ptr() for one in [codes, *others]}) == 21
    codes += 1  # a tensor as any other
    assert torch.equal(codes, before + 1)


FOLLOWED: dict[str, Callable[[Callable[..., torch.Tensor], torch.Tensor], Callable[..., torch.Tensor]]] = {
    "trace": torch.jit.trace,
    "graph": lambda function, example: make_fx(function)(example),
    "vmap": lambda function, _: torch.func.vmap(function),
    "compiled": lambda function, _: torch.compile(function, backend="eager", fullgraph=True),
}


@pytest.mark.parametrize("way", FOLLOWED)
@pytest.mark.filterwarnings("ignore:.*batching rule:UserWarning", "ignore:.*torch.jit.trace.*:DeprecationWarning")
def test_who_follows_the_computation_sees_all_of_it(way: str) -> None:
    """What was followed at one input gives the codes of another one, in the fast way's bits."""
    factor, offset = torch.rand(16) + 9.0, torch.randn(16) + 100.0

    def function(values: torch.Tensor) -> torch.Tensor:
        return quantize(values, 0.1, 100, 127) + quantize_smoothed(values, factor, offset, 127)

    followed = FOLLOWED[way](function, torch.zeros(4, 16))
    values = torch.randn(4, 16)
    assert torch.equal(followed(values), function(values))


def test_subclasses_and_other_devices_are_computed_plainly() -> None:
    """A tensor that is more than its memory goes through torch's arithmetic."""

    class Marked(torch.Tensor):
        pass

    codes = quantize(torch.randn(3, 4).as_subclass(Marked), 0.1, 100, 255)
    assert type(codes) is Marked
    assert quantize(torch.empty(3, 4, device="meta"), 0.1, 100, 255).device.type == "meta"


def test_threads_do_not_disturb_one_another() -> None:
    """Each gets its own codes, the first calls included."""
    module._one_pass_is_exact.cache_clear()
    batches = [torch.randn(32, 64) for _ in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda values: quantize(values, 0.05, 90, 255), batches))
    assert all(torch.equal(one, quantize(values, 0.05, 90, 255)) for one, values in zip(found, batches, strict=True))


@pytest.fixture
def without_memory() -> Iterator[None]:
    """Forget the experiment before and after."""
    module._one_pass_is_exact.cache_clear()
    yield
    module._one_pass_is_exact.cache_clear()


@pytest.mark.usefixtures("without_memory")
def test_a_torch_without_the_kernel_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes are the same when torch has removed its quantized tensors."""
    values = torch.randn(20, 30)
    before = quantize(values, 0.05, 90, 255)
    module._one_pass_is_exact.cache_clear()
    monkeypatch.delattr(torch, "quantize_per_tensor")
    assert torch.equal(quantize(values, 0.05, 90, 255), before)


@pytest.mark.usefixtures("without_memory")
def test_a_kernel_that_rounds_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiment finds it, and our own passes do the work."""
    values = torch.randn(20, 30)
    before = quantize(values, 0.05, 90, 255)
    module._one_pass_is_exact.cache_clear()

    def in_turn(values: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        return values.mul(1.0 / scale).add(zero_point).round().clamp(0, 255).to(torch.uint8)

    monkeypatch.setattr(module, "_in_one_pass", in_turn)
    assert not module._one_pass_is_exact()
    monkeypatch.setattr(module, "_in_one_pass", None)
    assert torch.equal(quantize(values, 0.05, 90, 255), before)


HELD = """
import torch
from ilit_pytorch.engine import quantize as module
values = (torch.arange(-300, 600) + 0.5) / 59
codes = module.quantize(values, 1 / 59, 64, 255)
each = torch.cat([module.quantize(part, 1 / 59, 64, 255) for part in values.split(7)])
print(torch.backends.cpu.get_cpu_capability(), module._one_pass_is_exact(), torch.equal(codes, each))
"""


def test_a_torch_without_fused_arithmetic_makes_its_own_passes() -> None:
    """So a value's code does not depend on where it lies, and every way gives the same there too."""
    env = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", HELD]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own text
    assert (done.stdout.split(), done.stderr) == (["DEFAULT", "False", "True"], "")
