"""The kernels that ran: those with INT8 weights by op, all others by name, and the INT8 ops that had none."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ilit.adapter import KernelProfile
from ilit.recipe import OpConfig, QuantSpec
from ilit_pytorch.engine import kernels
from ilit_pytorch.module_parts.activation import codes_of

TOKENS = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym", "per_token"))
ROWS = OpConfig("int8", "weight_only", QuantSpec())


def profiled(subject: Any, lowered: Any) -> KernelProfile:
    """Return what ran on the batch that the model was calibrated on."""
    found: KernelProfile = subject.adapter.profile_kernels(lowered, (subject.inputs, None))
    return found


def ran(found: KernelProfile) -> list[tuple[str, tuple[str, ...], int]]:
    """Return kernel, ops and calls of the INT8 kernels."""
    return [(row.kernel, row.ops, row.calls) for row in found.int8]


def test_each_linear_has_its_kernel(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Static or dynamic, in running order; bytes are those of codes, weight, scales, zero points, bias and output."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    found = profiled(subject, subject.lower(static=["0"], dynamic=["3"]))
    assert ran(found) == [("onednn::qlinear_pointwise", ("0",), 1), ("onednn::qlinear_pointwise", ("3",), 1)]
    assert found.int8[0].bytes == 16 * 8 + 16 * 8 + 16 * (4 + 8 + 4) + 4 * 16 * 16
    assert found.ops_without == ()
    assert 0 < found.int8_share < 1
    seconds = [row.seconds for row in found.others]
    assert seconds == sorted(seconds, reverse=True)
    assert {"aten::linear", "aten::addmm"}.isdisjoint(row.kernel for row in found.others)


def test_scales_per_token_run_the_same_kernel(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """The product in INT8 counts, scaling it afterwards does not."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    assert ran(profiled(subject, subject.lower(**{"0": TOKENS}))) == [("onednn::qlinear_pointwise", ("0",), 1)]


def test_all_in_float_runs_nothing_in_int8(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """And nothing is missing."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    found = profiled(subject, subject.lower())
    assert (found.int8, found.ops_without, found.int8_share) == ((), (), 0.0)
    assert {"aten::addmm", "aten::relu"} <= {row.kernel for row in found.others}


def test_convolutions_and_islands(bench: Callable[..., Any], nets: SimpleNamespace, stubbed: Any) -> None:
    """OneDNN's kernels outside torch's stubs, torch's quantized ones inside; each belongs to its op."""
    net = bench(nets.settled(nets.conv_net(), 1, 8, 8), torch.randn(4, 1, 8, 8))
    found = profiled(net, net.lower(static=net.ops))
    assert {ops for _, ops, _ in ran(found)} == {(name,) for name in net.ops}
    assert found.int8[0].kernel == "onednn::qconv2d_pointwise"
    lowered = stubbed.lower(static=stubbed.ops)
    inside = profiled(stubbed, lowered)
    assert sorted(ops for _, ops, _ in ran(inside)) == sorted((name,) for name in stubbed.ops)
    assert {kernel.partition("::")[0] for kernel, _, _ in ran(inside)} == {"quantized"}
    assert inside.int8_calls == stubbed.adapter.int8_kernels(lowered)
    assert inside.ops_without == ()


def test_a_table_counts_by_the_rows_looked_up(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """An INT8 embedding reads int8 rows: two of eight codes here, with their indices and the same written."""
    subject = bench(nets.TiedEmbedding(), torch.tensor([[1, 5]]))
    found = profiled(subject, subject.lower(embed=ROWS))
    assert ran(found) == [("aten::embedding", ("embed",), 1)]
    assert found.int8[0].bytes == 2 * 8 + 2 * 8 + 2 * 8
    assert found.ops_without == ()


class Shared(torch.nn.Module):
    """Calls one Linear twice, and another only where the input is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.sometimes = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.twice(x))
        return self.sometimes(x) if float(x.detach().sum()) > -1e6 else x


def test_an_op_that_the_batch_does_not_reach_is_named(bench: Callable[..., Any]) -> None:
    """As is one called twice, with both calls."""
    subject = bench(Shared(), torch.randn(4, 8))
    lowered = subject.lower(dynamic=["twice", "sometimes"])
    assert profiled(subject, lowered).ops_without == ()
    with torch.no_grad():
        lowered.twice.int8_bias.fill_(-1e8)
    found = profiled(subject, lowered)
    assert (ran(found), found.ops_without) == ([("onednn::qlinear_pointwise", ("twice",), 2)], ("sometimes",))


def test_an_int8_op_that_computes_in_float_is_named(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Dequantizing codes is no INT8 kernel."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    lowered = subject.lower(static=["0", "3"])
    first = lowered.get_submodule("0")
    vars(first)["forward"] = lambda x: torch.nn.functional.linear(x, first.weight, first.bias)
    found = profiled(subject, lowered)
    assert (ran(found), found.ops_without) == ([("onednn::qlinear_pointwise", ("3",), 1)], ("0",))


@pytest.mark.parametrize(("joined", "without"), [("query key value", ()), ("query key", ("value",))])
def test_ops_may_share_a_kernel(
    bench: Callable[..., Any], nets: SimpleNamespace, joined: str, without: tuple[str, ...]
) -> None:
    """A weight that belongs to no op stands for as many ops as it has codes for."""
    subject = bench(nets.SharedReaders(), torch.randn(16, 8))
    lowered = subject.lower(static=["query", "key", "value", "out"])
    readers = [lowered.get_submodule(name) for name in joined.split()]
    packed = kernels.pack_linear(torch.cat([kernels.unpack_linear(one.packed) for one in readers]))
    scales, bias = (torch.cat([getattr(one, name) for one in readers]) for name in ("weight_scale", "int8_bias"))

    def forward(x: torch.Tensor) -> torch.Tensor:
        made = kernels.linear(codes_of(x, lowered.query.quantizer), packed, scales, bias)
        answer: torch.Tensor = lowered.out(made[:, :8])
        return answer

    vars(lowered)["forward"] = forward
    found = profiled(subject, lowered)
    assert ran(found) == [("onednn::qlinear_pointwise", (), 1), ("onednn::qlinear_pointwise", ("out",), 1)]
    assert found.ops_without == without


def test_nothing_is_left_on_the_model(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Its answers and its hooks are as before, and while it runs there are none that could change what runs."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    lowered = subject.lower(static=["0", "3"])
    before, hooks = subject.run(lowered), []
    lowered.get_submodule("3").register_forward_hook(lambda one, *_: hooks.append(len(one._forward_hooks)))
    profiled(subject, lowered)
    assert (subject.run(lowered) == before).all()
    assert set(hooks) == {1}
