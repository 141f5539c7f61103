"""The one place that calls oneDNN's INT8 operators, after checking what they do not check themselves.

An unpacked weight would end the process, a weight zero point would be ignored, and a scale tensor of the wrong
length would be read past its end. Every call here is preceded by those checks; the operators' schemas are compared
with the ones written below when this module is loaded, so that a torch that changed them is refused by name.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ilit.errors import LoweringError, ModelError

POST_OPS = ("none", "relu")
LINEAR_POST_OPS = (*POST_OPS, "gelu")
"""Those of a Linear; ``gelu`` is the exact one, with the error function."""

_LINEAR = (
    "onednn::qlinear_pointwise(Tensor qx, float x_scale, int x_zero_point, Tensor qw, Tensor w_scale, "
    "Tensor w_zero_point, Tensor? bias, float output_scale, int output_zero_point, ScalarType? output_dtype, "
    "str post_op_name, Scalar?[] post_op_args, str post_op_algorithm) -> Tensor"
)
_LINEAR_ADD = (
    "onednn::qlinear_pointwise.binary(Tensor qx, float x_scale, int x_zero_point, Tensor qw, Tensor w_scale, "
    "Tensor w_zero_point, Tensor? other, Tensor? bias, float output_scale, int output_zero_point, "
    "ScalarType? output_dtype, float other_scale, int other_zp, str binary_post_op, float binary_alpha, "
    "str unary_post_op, Scalar?[] unary_post_op_args, str unary_post_op_algorithm) -> Tensor"
)
_CONV = (
    "onednn::qconv{}d_pointwise(Tensor qx, float x_scale, int x_zero_point, Tensor qw, Tensor w_scale, "
    "Tensor w_zero_point, Tensor? bias, int[] stride, int[] padding, int[] dilation, int groups, float output_scale, "
    "int output_zero_point, ScalarType? output_dtype, str attr, Scalar?[] scalars, str? algorithm) -> Tensor"
)

_log = logging.getLogger("ilit.pytorch")


class Codes(NamedTuple):
    """A quantized activation: ``value = (codes - zero_point) * scale``, codes uint8 of the activation's shape.

    ``scale`` is a number, or one per token: float32 of the activation's shape with a last axis of 1. The kernels here
    take a number.
    """

    codes: torch.Tensor
    scale: float | torch.Tensor
    zero_point: int


def check_schemas() -> None:
    """Compare the operators of the installed torch with the ones this module calls.

    Raises:
        ModelError: an operator is missing or takes other arguments.
    """
    expected = {"qlinear_pointwise": _LINEAR, **{f"qconv{n}d_pointwise": _CONV.format(n) for n in (1, 2, 3)}}
    for name, schema in expected.items():
        operator = getattr(torch.ops.onednn, name, None)
        found = str(operator.default._schema) if operator is not None else "nothing"  # noqa: SLF001 - no public name
        if found != schema:
            raise ModelError(
                f"torch {torch.__version__}: torch.ops.onednn.{name} is not the operator ilit-pytorch was written "
                f"for (found {found}); install torch 2.13"
            )


@functools.cache
def has_linear_add() -> bool:
    """Return whether the installed torch has the operator that ``linear_add`` calls; the log says where it has not."""
    operator = getattr(torch.ops.onednn.qlinear_pointwise, "binary", None)
    found = str(operator._schema) if operator is not None else "nothing"  # noqa: SLF001 - no public name
    if found != _LINEAR_ADD:
        _log.info("torch %s: residuals are added after INT8 Linears, not in them (found %s)", torch.__version__, found)
    return found == _LINEAR_ADD


def pack_linear(weight: torch.Tensor) -> torch.Tensor:
    """Pack an int8 weight of shape (out, in) once for every batch size; ``unpack_linear`` is the inverse."""
    _check_weight(weight, ndim=2)
    packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)
    return packed


def unpack_linear(packed: torch.Tensor) -> torch.Tensor:
    """Return the int8 weight of shape (out, in) that was packed."""
    return packed.to_dense().t().contiguous()


def pack_conv(
    weight: torch.Tensor, scale: torch.Tensor, geometry: tuple[list[int], list[int], list[int], int]
) -> torch.Tensor:
    """Pack an int8 weight of shape (out, in / groups, *kernel). ``geometry``: stride, padding, dilation, groups.

    ``unpack_conv`` is the inverse.
    """
    _check_weight(weight, ndim=len(geometry[0]) + 2)
    packed: torch.Tensor = torch.ops.onednn.qconv_prepack(weight.contiguous(), scale, 1.0, 0, *geometry, None)
    return packed


def unpack_conv(packed: torch.Tensor, axes: int) -> torch.Tensor:
    """Return the int8 weight of ``axes`` axes that was packed; a 1d one is packed with an axis of 1 more."""
    plain = packed.to_dense()
    return (plain.squeeze(-2) if plain.ndim > axes else plain).contiguous()


def linear(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    post_op: str = "none",
) -> torch.Tensor:
    """Multiply an activation (..., in) by a packed weight; return float32 (..., out).

    Raises:
        LoweringError: a dtype, shape or post-op the kernel would misread.
    """
    codes = activation.codes
    check_linear(activation, packed, weight_scale, bias, post_op, LINEAR_POST_OPS)
    if codes.numel() == 0:
        return torch.zeros(*codes.shape[:-1], packed.shape[1])
    return _linear(activation, packed, weight_scale, bias, post_op, (1.0, 0, torch.float32))


def linear_codes(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    post_op: str,
    grid: tuple[float, int, int],
) -> Codes:
    """Multiply as ``linear`` does and give the result as codes of the next op's input, without a float one between.

    Args:
        activation: codes (..., in).
        packed: the weight.
        weight_scale: float32 (out,).
        bias: float32 (out,) or None.
        post_op: one of ``LINEAR_POST_OPS``.
        grid: scale, zero point and largest code of what is given, uint8 (..., out); values outside are clamped.

    Raises:
        LoweringError: a dtype, shape, post-op or grid the kernel would misread.
    """
    scale, zero_point, max_code = grid
    check_linear(activation, packed, weight_scale, bias, post_op, LINEAR_POST_OPS)
    if not (0 <= zero_point <= max_code <= 255 and scale > 0.0):
        raise LoweringError(f"an INT8 kernel gives codes of 0 to 255, not by scale, zero point, largest code {grid}")
    codes = _linear(activation, packed, weight_scale, bias, post_op, (scale, zero_point, torch.uint8))
    return Codes(codes if max_code == 255 else codes.clamp_max_(max_code), scale, zero_point)


def linear_add(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor,
) -> torch.Tensor:
    """Multiply as ``linear`` does and add a residual, contiguous float32 (..., out), which is not written to.

    Raises:
        LoweringError: a dtype, shape or layout the kernel would misread.
    """
    codes, scale, zero_point = activation
    check_linear(activation, packed, weight_scale, bias, "none")
    wanted = (*codes.shape[:-1], packed.shape[1])
    if residual.dtype != torch.float32 or residual.shape != wanted or not residual.is_contiguous():
        raise LoweringError(
            f"INT8 linear: it adds contiguous float32 {wanted}, not {residual.dtype} {tuple(residual.shape)}"
        )
    output: torch.Tensor = torch.ops.onednn.qlinear_pointwise.binary(
        codes, scale, zero_point, packed, weight_scale, _zeros(packed.shape[1]), residual, bias,
        1.0, 0, torch.float32, 1.0, 0, "add", 1.0, "none", [], "",
    )  # fmt: skip
    return output


def _linear(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    post_op: str,
    output: tuple[float, int, torch.dtype],
) -> torch.Tensor:
    """Call the operator; ``output``: scale, zero point and dtype of what it gives."""
    codes, scale, zero_point = activation
    algorithm = "none" if post_op == "gelu" else ""
    given: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        codes, scale, zero_point, packed, weight_scale, _zeros(packed.shape[1]), bias,
        *output, post_op, [], algorithm,
    )  # fmt: skip
    return given


def conv(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
    post_op: str = "none",
) -> torch.Tensor:
    """Convolve an activation (rows, in, *size) with a packed weight; return float32 (rows, out, *size).

    Padding is with the zero point, that is with 0.0.

    Raises:
        LoweringError: a dtype, shape or post-op the kernel would misread.
    """
    check_conv(activation, packed, weight_scale, bias, geometry, post_op)
    codes, scale, zero_point = activation
    operator: Any = {
        3: torch.ops.onednn.qconv1d_pointwise,
        4: torch.ops.onednn.qconv2d_pointwise,
        5: torch.ops.onednn.qconv3d_pointwise,
    }[codes.ndim]
    fused = post_op if codes.ndim < 5 else "none"  # torch's 3d kernel has no post-ops
    output: torch.Tensor = operator(
        codes, scale, zero_point, packed, weight_scale, _zeros(packed.shape[0]), bias,
        *geometry, 1.0, 0, torch.float32, fused, [], "",
    )  # fmt: skip
    return output if fused == post_op else output.relu_()


def check_linear(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    post_op: str,
    known: tuple[str, ...] = POST_OPS,
) -> None:
    """Check what ``linear`` is given; ``known`` are the post-ops it may have.

    Raises:
        LoweringError: a dtype, shape or post-op the kernel would misread.
    """
    codes = activation.codes
    _check_call(codes, packed, weight_scale, bias, packed.shape[-1])
    _check_post_op(post_op, known)
    if codes.shape[-1] != packed.shape[0]:
        raise LoweringError(f"INT8 linear: the input has {codes.shape[-1]} features, the weight {packed.shape[0]}")


def check_conv(
    activation: Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
    post_op: str,
) -> None:
    """Check what ``conv`` is given.

    Raises:
        LoweringError: a dtype, shape or post-op the kernel would misread.
    """
    codes = activation.codes
    _check_call(codes, packed, weight_scale, bias, packed.shape[0])
    _check_post_op(post_op, POST_OPS)
    if codes.ndim not in (3, 4, 5):
        raise LoweringError(f"INT8 convolution: the input has {codes.ndim} axes; 3, 4 or 5 are needed")
    _check_window(codes, packed, geometry)


def _zeros(count: int) -> torch.Tensor:
    """Return weight zero points: the kernels ignore others, so there are only these."""
    return torch.zeros(count, dtype=torch.int64)


def _check_weight(weight: torch.Tensor, ndim: int) -> None:
    if weight.dtype != torch.int8 or weight.ndim != ndim or weight.is_mkldnn:
        raise LoweringError(f"an INT8 weight must be a plain int8 tensor of {ndim} axes, not {weight.dtype}")


def _check_call(
    codes: torch.Tensor,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    out_channels: int,
) -> None:
    if not packed.is_mkldnn:
        raise LoweringError("an INT8 kernel was given a weight that is not packed")
    if codes.dtype != torch.uint8:
        raise LoweringError(f"an INT8 kernel takes uint8 codes, not {codes.dtype}")
    if weight_scale.shape != (out_channels,) or weight_scale.dtype != torch.float32:
        raise LoweringError(f"an INT8 kernel takes {out_channels} float32 weight scales, not {weight_scale.shape}")
    if bias is not None and (bias.shape != (out_channels,) or bias.dtype != torch.float32):
        raise LoweringError(f"an INT8 kernel takes a float32 bias of {out_channels}, not {bias.dtype} {bias.shape}")


def _check_post_op(post_op: str, known: tuple[str, ...]) -> None:
    if post_op not in known:
        raise LoweringError(f"an INT8 kernel has no post-op {post_op!r}; it has {', '.join(known)}")


def _check_window(
    codes: torch.Tensor, packed: torch.Tensor, geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int]
) -> None:
    """Compare channels and sizes, since the kernel answers a window that does not fit with an empty tensor or worse."""
    _, padding, dilation, groups = geometry
    if len(padding) != codes.ndim - 2 or codes.shape[1] != packed.shape[1] * groups:
        raise LoweringError(
            f"INT8 convolution: the input has {codes.shape[1]} channels and {codes.ndim - 2} axes of size, "
            f"the weight {packed.shape[1] * groups} and {len(padding)}"
        )
    kernel_size = packed.shape[-len(padding) :]  # a 1d weight is packed with an axis of 1 before its own
    windows = zip(codes.shape[2:], kernel_size, padding, dilation, strict=True)
    if any(size + 2 * pad < step * (kernel - 1) + 1 for size, kernel, pad, step in windows):
        raise LoweringError(f"INT8 convolution: the input {tuple(codes.shape)} is smaller than the kernel")
