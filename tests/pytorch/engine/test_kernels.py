"""The one place that calls oneDNN: exact sums, and a refusal where oneDNN itself would not check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.errors import LoweringError, ModelError
from ilit_pytorch.engine import kernels

PLAIN = ([1], [0], [1], 1)


def codes(*shape: int) -> torch.Tensor:
    """Return uint8 codes up to 255."""
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def weight(*shape: int) -> torch.Tensor:
    """Return int8 codes that no CPU class saturates on."""
    return torch.randint(-63, 64, shape, dtype=torch.int8)


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 3, 64), (64,), (0, 64)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_linear_sums_as_integers_do(shape: tuple[int, ...], bias: bool) -> None:
    """The kernel gives (codes - zero point) @ weight, summed exactly, times the scales, plus bias."""
    x, w = codes(*shape), weight(33, 64)
    scale, b = torch.rand(33) + 0.5, torch.randn(33) if bias else None
    found = kernels.linear(kernels.Codes(x, 0.25, 7), kernels.pack_linear(w), scale, b)
    total = (x.long() - 7) @ w.long().t()
    wanted = total.double() * 0.25 * scale + (0 if b is None else b)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-4)  # float32 holds what is summed in int32
    assert found.shape == (*shape[:-1], 33)
    relu = kernels.linear(kernels.Codes(x, 0.25, 7), kernels.pack_linear(w), scale, b, "relu")
    assert torch.equal(relu, found.relu())


def wide(*shape: int) -> tuple[kernels.Codes, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return an activation of this shape with a packed weight, scales and bias that give values of some -3 to 3."""
    packed = kernels.pack_linear(weight(96, shape[-1]))
    return kernels.Codes(codes(*shape), 0.02, 128), packed, torch.rand(96) * 0.006 / shape[-1] ** 0.5, torch.randn(96)


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 3, 64), (64,)], ids=str)
def test_gelu_in_the_kernel_is_torchs(shape: tuple[int, ...]) -> None:
    """The exact one, to a few units in the last place of float32."""
    parts = wide(*shape)
    wanted = torch.nn.functional.gelu(kernels.linear(*parts))
    torch.testing.assert_close(kernels.linear(*parts, "gelu"), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 3, 64), (64,)], ids=str)
def test_a_residual_is_added_in_the_kernel_and_left_as_it_was(shape: tuple[int, ...]) -> None:
    """The sum is that of two steps, bit for bit."""
    parts = wide(*shape)
    plain = kernels.linear(*parts)
    residual = torch.randn_like(plain)
    before = residual.clone()
    assert torch.equal(kernels.linear_add(*parts, residual), plain + residual)
    assert torch.equal(residual, before)


@pytest.mark.parametrize("post_op", kernels.LINEAR_POST_OPS)
@pytest.mark.parametrize(
    "grid", [(0.02, 40, 255), (0.01, 9, 255), (0.04, 40, 127), (0.01, 0, 127), (1e-14, 9, 127)], ids=str
)
def test_codes_made_in_the_kernel_are_those_of_its_float_output(post_op: str, grid: tuple[float, int, int]) -> None:
    """One apart at most, three in 100,000 at most, and never above the largest code, which 16-bit sums rely on."""
    parts, (scale, zero_point, largest) = wide(200, 64), grid
    found = kernels.linear_codes(*parts, post_op, grid)
    plain = kernels.linear(*parts, post_op)
    wanted = (plain / scale + zero_point).round().clamp(0, largest)
    apart = (found.codes - wanted).abs()
    assert (found.scale, found.zero_point) == (scale, zero_point)
    assert found.codes.dtype == torch.uint8
    assert float(apart.max()) <= 1
    assert float(apart.sum()) <= 3e-5 * apart.numel() + 1
    assert scale > 0.01 or bool((plain > (largest - zero_point) * scale).any()), "nothing is out of range"
    assert int(found.codes.max()) <= largest


@pytest.mark.parametrize("layout", ["transposed", "sliced", "expanded"])
def test_linear_reads_any_layout(layout: str) -> None:
    """Strides are no part of the promise."""
    x = {
        "transposed": lambda: codes(64, 6).t(),
        "sliced": lambda: codes(6, 128)[:, ::2],
        "expanded": lambda: codes(1, 64).expand(6, 64),
    }[layout]()
    packed, scale = kernels.pack_linear(weight(5, 64)), torch.ones(5)
    plain = kernels.linear(kernels.Codes(x.contiguous(), 1.0, 3), packed, scale, None)
    assert torch.equal(kernels.linear(kernels.Codes(x, 1.0, 3), packed, scale, None), plain)
    assert torch.equal(kernels.linear_add(kernels.Codes(x, 1.0, 3), packed, scale, None, plain), plain + plain)


CONVS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any]] = {
    "1d": ((2, 4, 9), (6, 4, 3), ([1], [0], [1], 1)),
    "1d strided grouped": ((2, 4, 9), (6, 2, 3), ([2], [1], [1], 2)),
    "2d": ((2, 4, 9, 9), (6, 4, 3, 3), ([1, 1], [1, 1], [1, 1], 1)),
    "2d depthwise": ((2, 4, 9, 9), (4, 1, 3, 3), ([1, 1], [1, 1], [1, 1], 4)),
    "2d dilated": ((2, 4, 9, 9), (6, 4, 3, 3), ([2, 1], [2, 2], [2, 2], 1)),
    "3d": ((2, 4, 5, 5, 5), (6, 2, 2, 2, 2), ([1, 1, 1], [1, 0, 1], [1, 1, 1], 2)),
    "no rows": ((0, 4, 9, 9), (6, 4, 3, 3), ([1, 1], [1, 1], [1, 1], 1)),
}


@pytest.mark.parametrize("zero_point", [0, 7, 128])
@pytest.mark.parametrize("name", CONVS)
def test_convolutions_sum_as_integers_do(name: str, zero_point: int) -> None:
    """Every geometry gives the exact sums; padding counts as 0.0, whatever the zero point."""
    shape, kernel, geometry = CONVS[name]
    x, w, scale = codes(*shape), weight(*kernel), torch.rand(kernel[0]) + 0.5
    found = kernels.conv(
        kernels.Codes(x, 0.5, zero_point), kernels.pack_conv(w, scale, geometry), scale, None, geometry
    )
    plain = {3: torch.nn.functional.conv1d, 4: torch.nn.functional.conv2d, 5: torch.nn.functional.conv3d}[x.ndim]
    total = plain(x.double() - zero_point, w.double(), None, *geometry)  # type: ignore[operator]  # one of three
    wanted = total * 0.5 * scale.double().reshape(-1, *[1] * (x.ndim - 2))
    assert found.shape == wanted.shape
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-4)


def test_convolution_reads_channels_last() -> None:
    """The memory format of an image is no part of the promise."""
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    x, scale = codes(2, 4, 9, 9), torch.ones(6)
    packed = kernels.pack_conv(weight(6, 4, 3, 3), scale, geometry)
    last = x.to(memory_format=torch.channels_last)
    plain = kernels.conv(kernels.Codes(x, 1.0, 3), packed, scale, None, geometry)
    assert torch.equal(kernels.conv(kernels.Codes(last, 1.0, 3), packed, scale, None, geometry), plain)


def _linear(input: torch.Tensor | None = None, **changes: Any) -> Callable[[], Any]:  # noqa: A002 - as torch names it
    def call() -> Any:
        plain = codes(2, 8) if input is None else input
        given = {"packed": kernels.pack_linear(weight(4, 8)), "weight_scale": torch.ones(4), "bias": None}
        return kernels.linear(kernels.Codes(plain, 1.0, 0), **{**given, **changes})

    return call


def _conv(input: torch.Tensor | None = None, **changes: Any) -> Callable[[], Any]:  # noqa: A002 - as torch names it
    def call() -> Any:
        plain = codes(2, 4, 9) if input is None else input
        packed = kernels.pack_conv(weight(6, 4, 3), torch.ones(6), PLAIN)
        given = {"packed": packed, "weight_scale": torch.ones(6), "bias": None, "geometry": PLAIN}
        return kernels.conv(kernels.Codes(plain, 1.0, 0), **{**given, **changes})

    return call


def _add(residual: torch.Tensor, **changes: Any) -> Callable[[], Any]:
    def call() -> Any:
        given = {"packed": kernels.pack_linear(weight(4, 8)), "weight_scale": torch.ones(4), "bias": None}
        return kernels.linear_add(kernels.Codes(codes(2, 8), 1.0, 0), **{**given, **changes}, residual=residual)

    return call


def _to(*grid: Any, **changes: Any) -> Callable[[], Any]:
    def call() -> Any:
        given = {"packed": kernels.pack_linear(weight(4, 8)), "weight_scale": torch.ones(4), "bias": None}
        changed = {**given, "post_op": "none", **changes}
        return kernels.linear_codes(kernels.Codes(codes(2, 8), 1.0, 0), **changed, grid=grid)

    return call


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "linear: unpacked weight": (_linear(packed=weight(4, 8)), "not packed"),
    "linear: int8 codes": (_linear(weight(2, 8)), "uint8 codes"),
    "linear: float codes": (_linear(torch.ones(2, 8)), "uint8 codes"),
    "linear: features": (_linear(codes(2, 9)), "9 features"),
    "linear: few scales": (_linear(weight_scale=torch.ones(1)), "4 float32 weight scales"),
    "linear: double scales": (_linear(weight_scale=torch.ones(4).double()), "4 float32 weight scales"),
    "linear: short bias": (_linear(bias=torch.ones(1)), "bias"),
    "linear: post-op": (_linear(post_op="tanh"), "no post-op 'tanh'"),
    "add: unpacked weight": (_add(torch.ones(2, 4), packed=weight(4, 8)), "not packed"),
    "add: few scales": (_add(torch.ones(2, 4), weight_scale=torch.ones(1)), "4 float32 weight scales"),
    "add: short residual": (_add(torch.ones(4)), "contiguous float32 (2, 4), not torch.float32 (4,)"),
    "add: double residual": (_add(torch.ones(2, 4).double()), "contiguous float32 (2, 4), not torch.float64"),
    "add: layout": (_add(torch.ones(4, 2).t()), "contiguous float32"),
    "codes: post-op": (_to(1.0, 0, 255, post_op="tanh"), "no post-op 'tanh'"),
    "codes: short bias": (_to(1.0, 0, 255, bias=torch.ones(1)), "bias"),
    "codes: too large": (_to(1.0, 0, 256), "codes of 0 to 255"),
    "codes: zero point": (_to(1.0, 128, 127), "codes of 0 to 255"),
    "codes: scale": (_to(0.0, 0, 255), "codes of 0 to 255"),
    "conv: unpacked weight": (_conv(packed=weight(6, 4, 3)), "not packed"),
    "conv: float codes": (_conv(torch.ones(2, 4, 9)), "uint8 codes"),
    "conv: few scales": (_conv(weight_scale=torch.ones(1)), "6 float32 weight scales"),
    "conv: axes": (_conv(codes(4, 9)), "axes"),
    "conv: channels": (_conv(codes(2, 5, 9)), "5 channels"),
    "conv: double bias": (_conv(bias=torch.ones(6).double()), "bias"),
    "conv: too small": (_conv(codes(2, 4, 2)), "smaller than the kernel"),
    "pack: float weight": (lambda: kernels.pack_linear(torch.ones(4, 8)), "plain int8"),
    "pack: packed weight": (lambda: kernels.pack_linear(kernels.pack_linear(weight(4, 8))), "plain int8"),
    "pack: axes": (lambda: kernels.pack_linear(weight(4, 8, 1)), "2 axes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_kernel_would_misread_is_refused(name: str) -> None:
    """Each wrong argument is a one-line LoweringError before the operator is called."""
    call, text = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        call()
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_unpack_to_what_was_packed() -> None:
    """An artefact is written from packed weights, bit for bit."""
    w = weight(33, 70)
    assert torch.equal(kernels.unpack_linear(kernels.pack_linear(w)), w)
    w = weight(6, 2, 3, 3)
    packed = kernels.pack_conv(w, torch.ones(6), ([1, 1], [1, 1], [1, 1], 2))
    assert torch.equal(kernels.unpack_conv(packed, 4), w)
    w = weight(6, 4, 3)
    assert torch.equal(kernels.unpack_conv(kernels.pack_conv(w, torch.ones(6), PLAIN), 3), w)


def test_schemas_are_those_of_the_installed_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch whose operators take other arguments is refused by name."""
    kernels.check_schemas()
    monkeypatch.setattr(kernels, "_LINEAR", kernels._LINEAR.replace("float x_scale", "Tensor x_scale"))
    with pytest.raises(ModelError, match=r"qlinear_pointwise is not the operator.*install torch 2\.13"):
        kernels.check_schemas()


def test_without_its_operator_the_sum_is_made_outside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A torch that has not the one which adds is not refused: the log says it, and who asks is told."""
    kernels.has_linear_add.cache_clear()
    assert kernels.has_linear_add()
    monkeypatch.setattr(kernels, "_LINEAR_ADD", kernels._LINEAR_ADD.replace("float other_scale", "Tensor other_scale"))
    kernels.has_linear_add.cache_clear()
    with caplog.at_level("INFO", "ilit.pytorch"):
        assert not kernels.has_linear_add()
    kernels.has_linear_add.cache_clear()
    assert "residuals are added after INT8 Linears" in caplog.text
