"""Codes from float values: in one pass over memory where torch has a kernel for it, else in passes of our own.

Both give the same codes: a value times the reciprocal of the scale plus the zero point, as one fused multiply-add in
float32, rounded (halves to even) and clamped to 0..``max_code``. NaN becomes the largest code, for want of a better.
torch's kernel belongs to its deprecated quantized tensors, so it is used only where it is there and does just that.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from ilit_pytorch.engine.deprecation import silence_deprecation

BLOCK = 1 << 20  # values at a time where there is more than one pass: what is computed between is in memory just used


def quantize(values: torch.Tensor, scale: float, zero_point: int, max_code: int) -> torch.Tensor:
    """Return uint8 codes of ``values / scale + zero_point``, of the shape of ``values``, which are float32."""
    if not _takes_one_pass(values):
        factor = 1.0 / _float32(scale)  # as torch's kernel has it
        return _in_own_passes(values, lambda x: torch.add(x.new_full((), zero_point), x, alpha=factor), max_code)
    codes = _in_one_pass(values, scale, zero_point)
    return codes if max_code == 255 else codes.clamp_(max=max_code)


def quantize_smoothed(values: torch.Tensor, factor: torch.Tensor, offset: torch.Tensor, max_code: int) -> torch.Tensor:
    """Return uint8 codes of ``values * factor + offset``, of the shape of ``values``, (..., channels) in float32.

    The vectors are float32 (channels,); the zero point is part of ``offset``.
    """
    if not _takes_one_pass(values):
        return _in_own_passes(values, lambda x: torch.addcmul(offset, x, factor), max_code)
    return _blockwise(values, lambda x: quantize(torch.addcmul(offset, x, factor), 1.0, 0, max_code))


def _takes_one_pass(values: torch.Tensor) -> bool:
    """Return whether torch's kernel may be called: a graph, a trace or ``vmap`` would lose sight of its memory."""
    return (
        not _is_traced()
        and not is_in_torch_dispatch_mode()
        and torch._C._functorch.peek_interpreter_stack() is None  # noqa: SLF001 - no public name
        and type(values) is torch.Tensor
        and values.device.type == "cpu"
        and _one_pass_is_exact()
    )


def _is_traced() -> bool:
    """Return whether ``torch.export``, ``torch.compile`` or ``torch.jit.trace`` writes down what is done."""
    return torch.compiler.is_compiling() or torch._C._is_tracing()  # noqa: SLF001 - the public name has no types


@functools.cache
def _one_pass_is_exact() -> bool:
    """Return whether torch has the kernel and it gives the codes of our own passes here, by experiment.

    It does not where the rest of torch is held to instructions without a fused multiply-add.
    """
    if not hasattr(torch, "quantize_per_tensor"):
        return False
    silence_deprecation()
    scale = _float32(1.0 / 59.0)
    halves = (torch.arange(-300, 600, dtype=torch.float64, device="cpu") + 0.5).mul_(scale).float()
    odd = torch.tensor([torch.inf, -torch.inf, torch.nan, 3e38, -3e38, 1e-45], dtype=torch.float32, device="cpu")
    values = torch.cat([halves, halves.nextafter(odd[0]), halves.nextafter(odd[1]), odd])

    def own(zero_point: int) -> torch.Tensor:
        start = torch.tensor(float(zero_point), dtype=torch.float32, device="cpu")
        return _in_own_passes(values, lambda x: torch.add(start, x, alpha=1.0 / scale), 255)

    return all(torch.equal(_in_one_pass(values, scale, zero_point), own(zero_point)) for zero_point in (0, 3, 128))


def _in_one_pass(values: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """Return torch's codes up to 255, in the memory of the quantized tensor that they were made in."""
    quantized = torch.quantize_per_tensor(values, scale, zero_point, torch.quint8)
    codes = torch.empty(0, dtype=torch.uint8, device="cpu")
    return codes.set_(quantized.untyped_storage(), 0, quantized.shape, quantized.stride())


def _in_own_passes(values: torch.Tensor, line: Callable[[torch.Tensor], torch.Tensor], max_code: int) -> torch.Tensor:
    """Return the codes of ``line(values)`` by plain arithmetic."""
    return _blockwise(values, lambda x: _rounded(line(x), max_code))


def _blockwise(values: torch.Tensor, codes_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return uint8 codes, a large activation's made block by block: fresh memory costs more than a pass."""
    if _is_traced() or values.numel() <= BLOCK or not values.is_contiguous():
        return codes_of(values).to(torch.uint8)
    rows = values.view(-1, values.shape[-1])
    codes = torch.empty(rows.shape, dtype=torch.uint8, device=values.device)
    size = max(1, BLOCK // rows.shape[1])
    for start in range(0, len(rows), size):
        codes[start : start + size] = codes_of(rows[start : start + size])
    return codes.view(values.shape)


def _rounded(line: torch.Tensor, max_code: int) -> torch.Tensor:
    """Return codes that are still float32, in the memory of ``line``."""
    return line.nan_to_num_(float(max_code)).clamp_(0.0, float(max_code)).round_()


def _float32(number: float) -> float:
    """Return the nearest float32, by what ``torch.compile`` knows how to follow."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)
