"""oneDNN's INT8 kernels for AVX2, saturation included, computed in torch's float64: the same numbers on every CPU.

What is emulated is oneDNN 3.12 as torch 2.13 has it, on a CPU with AVX2 and without VNNI:

* Products. ``vpmaddubsw`` multiplies uint8 codes of the activation by int8 codes of the weight and sums two neighbours
  in 16 bits, which saturate at -32768 and 32767. ``vpmaddwd`` by ones widens and sums in 32 bits, where nothing is
  lost. So only neighbours matter, not the blocks that a kernel works in. (``compute_ker`` in
  ``src/cpu/x64/jit_uni_x8s8s32x_conv_kernel.cpp``.)
* A Linear's neighbours are features (0, 1), (2, 3), ...; a last one alone is paired with 0. From 257 to 767 features
  are summed in two parts, of which the first has half of them, rounded up; so in the second of two odd parts the
  neighbours begin anew (``get_k_padd`` in ``src/cpu/x64/gemm/gemm_driver.cpp``, sizes in ``gemm_info.cpp``).
* A convolution's neighbours are input channels (0, 1), (2, 3), ... of a group, at each position of the kernel by
  itself. What lies on the padding is no part of the sum, and saturates nothing.
* Convolutions that oneDNN's generated code does not take run in its reference code, which is exact: with groups, where
  channels of input or output a group are no multiples of 4 and not 1 each, and depthwise 3d.
* The activation's zero point is taken off the sums in 32 bits.
* The output is ``float(sum) * (scale * weight_scale) + bias``, rounded after each step; in the reference code
  ``float(sum) * scale * weight_scale + bias``.

The rules were read from the source where it is named, and all of them held to the kernels themselves by experiment:
``ONEDNN_MAX_CPU_ISA=AVX2`` makes oneDNN choose these kernels on every x86 CPU, and the tests do so.

AVX512 without VNNI (``avx512_core``) is not emulated. It sums likewise with two exceptions: a Linear is one part, and
convolutions with one input channel a group may have their neighbours along the kernel's rows, while none is exact. It
scales as the reference code does, so its answers differ in the last bit. Nor are FBGEMM's kernels emulated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from ilit_pytorch.engine import kernels
from ilit_pytorch.engine.cpu import INT16_MAX

INT16_MIN = -INT16_MAX - 1
ROWS, OUTPUTS, PRODUCTS = 1024, 1024, 1 << 20
"""Rows and outputs summed at a time, and pairs of products held at a time: some 80 MB for 3,072 features."""

ONE_PART, TWO_WHOLE_PARTS = 256, 768
"""Up to so many features are summed in one part; from so many on in parts of 384, which is even."""

Geometry = tuple[Sequence[int], Sequence[int], Sequence[int], int]


def linear(
    activation: kernels.Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    post_op: str = "none",
) -> torch.Tensor:
    """Compute ``kernels.linear`` as on a CPU with AVX2 and without VNNI, bit by bit.

    Raises:
        LoweringError: as there.
    """
    kernels.check_linear(activation, packed, weight_scale, bias, post_op)
    codes, scale, zero_point = activation
    weight = kernels.unpack_linear(packed)
    taken_off = zero_point * weight.sum(dim=1, dtype=torch.int32)  # (out,)
    sums = saturated_sums(*_in_parts(codes.reshape(-1, weight.shape[1]), weight)) - taken_off
    output = sums.float().mul_(weight_scale * scale)  # (rows, out)
    return _finished(output, bias, post_op).view(*codes.shape[:-1], len(weight))


def conv(
    activation: kernels.Codes,
    packed: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    geometry: Geometry,
    post_op: str = "none",
) -> torch.Tensor:
    """Compute ``kernels.conv`` as on a CPU with AVX2 and without VNNI, to the bit but for the sign of zeros after ReLU.

    Raises:
        LoweringError: as there.
    """
    kernels.check_conv(activation, packed, weight_scale, bias, geometry, post_op)
    codes, scale, zero_point = activation
    weight = kernels.unpack_conv(packed, codes.ndim)
    exact = _runs_reference_code(weight, geometry[3])
    filters = weight.reshape(geometry[3], -1, weight.shape[1], weight[0, 0].numel())  # (groups, out, in, positions)
    taken_off = zero_point * _sums_inside(weight, codes.shape[2:], geometry)  # (points, out)
    output = torch.empty(len(codes), len(weight), *_size(codes.shape[2:], weight.shape[2:], geometry))
    for row in range(len(codes)):
        windows = _windows(codes[row], weight.shape[2:], geometry)  # (points, groups, in, positions)
        sums = torch.cat([_group_sums(windows[:, at], of, exact) for at, of in enumerate(filters)], dim=1)
        values = (sums - taken_off).float()  # (points, out)
        values = values.mul_(scale).mul_(weight_scale) if exact else values.mul_(weight_scale * scale)
        output[row] = _finished(values, bias, post_op).t().reshape(output.shape[1:])
    return output


def saturated_sums(codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sum products with every two neighbours' sum held within 16 bits.

    They are summed exactly first; then what lies beyond 16 bits is taken off, from those few pairs that can get there.

    Args:
        codes: uint8 (rows, in).
        weight: int8 (out, in).

    Returns:
        int32 (rows, out).
    """
    odd = codes.shape[1] % 2
    codes, weight = (torch.nn.functional.pad(part, (0, odd)) for part in (codes, weight))
    sums = torch.empty(len(codes), len(weight), dtype=torch.int32)
    for rows in _blocks(len(codes), ROWS):
        columns = codes[rows].t().int().contiguous()  # (in, rows)
        for outputs in _blocks(len(weight), OUTPUTS):
            sums[rows, outputs] = _block_sums(columns, weight[outputs].int()).t()
    return sums


def _block_sums(codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return sums (out, rows) for codes (in, rows) and a weight (out, in), all int32, ``in`` being even."""
    sums = (weight.double() @ codes.double()).int()  # float64 holds them all
    first, second = codes[0::2], codes[1::2]  # (pairs, rows)
    outputs, pairs = _may_saturate(codes, weight)
    for part in _blocks(len(outputs), max(1, PRODUCTS // codes.shape[1])):
        at, pair = outputs[part], pairs[part]
        products = first[pair].mul_(weight[at, 2 * pair, None])
        products.addcmul_(second[pair], weight[at, 2 * pair + 1, None])  # (found, rows)
        sums.index_add_(0, at, products.clamp(INT16_MIN, INT16_MAX).sub_(products))
    return sums


def _may_saturate(codes: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return output and pair, int64 (found,) each, where the largest codes of both features leave 16 bits.

    A pair of weights of unlike signs never does: each product alone is within 255 * 127.
    """
    reach = weight * codes.amax(dim=1)  # (out, in)
    both = reach[:, 0::2] + reach[:, 1::2]
    return torch.nonzero((both > INT16_MAX) | (both < INT16_MIN), as_tuple=True)


def _group_sums(windows: torch.Tensor, filters: torch.Tensor, exact: bool) -> torch.Tensor:
    """Return int32 sums (points, out) for windows (points, in, positions) and filters (out, in, positions)."""
    if exact:
        return (windows.flatten(1).double() @ filters.flatten(1).double().t()).int()
    odd = windows.shape[1] % 2
    ordered = (torch.nn.functional.pad(part.transpose(1, 2), (0, odd)).flatten(1) for part in (windows, filters))
    return saturated_sums(*ordered)


def _in_parts(codes: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return codes (rows, in) and weight (out, in) with a 0 after the first of two parts that is odd."""
    features = weight.shape[1]
    first = (features + 1) // 2
    if not (ONE_PART < features < TWO_WHOLE_PARTS and first % 2):
        return codes, weight
    of_codes, of_weight = (
        torch.cat([part[:, :first], torch.zeros_like(part[:, :1]), part[:, first:]], dim=1) for part in (codes, weight)
    )
    return of_codes, of_weight


def _windows(codes: torch.Tensor, kernel: Sequence[int], geometry: Geometry) -> torch.Tensor:
    """Return (points, groups, in, positions) of codes (groups * in, *size), padded with 0."""
    stride, padding, dilation, groups = geometry
    axes = len(kernel)
    windows = torch.nn.functional.pad(codes, [pad for pad in reversed(padding) for _ in range(2)])
    for axis, (step, apart, taps) in enumerate(zip(stride, dilation, kernel, strict=True), start=1):
        windows = windows.unfold(axis, apart * (taps - 1) + 1, step)[..., ::apart]
    points = range(1, axes + 1)  # now (groups * in, *points, *kernel)
    windows = windows.movedim(list(points), [axis - 1 for axis in points])
    inner, positions = len(codes) // groups, math.prod(kernel)
    return windows.reshape(-1, groups, inner, positions)


def _runs_reference_code(weight: torch.Tensor, groups: int) -> bool:
    """Whether oneDNN's own code generator for AVX2 does not take a weight (out, in / groups, *kernel)."""
    inner, out = weight.shape[1], len(weight) // groups
    if groups > 1 and inner == out == 1:
        return weight.ndim == 5
    return groups > 1 and bool(inner % 4 or out % 4)


def _size(size: Sequence[int], kernel: Sequence[int], geometry: Geometry) -> list[int]:
    """Return the size of a convolution's output."""
    reach = [apart * (taps - 1) + 1 for apart, taps in zip(geometry[2], kernel, strict=True)]
    return [
        (length + 2 * pad - span) // step + 1
        for length, pad, span, step in zip(size, geometry[1], reach, geometry[0], strict=True)
    ]


def _sums_inside(weight: torch.Tensor, size: Sequence[int], geometry: Geometry) -> torch.Tensor:
    """Return, for each point and output, the sum of the weights that lie on the input and not on padding: int32."""
    stride, padding, dilation, _ = geometry
    inside = _windows(torch.ones(1, *size), weight.shape[2:], (stride, padding, dilation, 1)).flatten(1)
    by_position = weight.flatten(2).sum(dim=1, dtype=torch.float64)  # (out, positions)
    return (inside.double() @ by_position.t()).int()


def _finished(output: torch.Tensor, bias: torch.Tensor | None, post_op: str) -> torch.Tensor:
    """Return an output (rows, out), changed in place, with bias and post-op."""
    if bias is not None:
        output.add_(bias)
    return output.relu_() if post_op == "relu" else output


def _blocks(count: int, size: int) -> Iterator[slice]:
    yield from (slice(start, start + size) for start in range(0, count, size))
