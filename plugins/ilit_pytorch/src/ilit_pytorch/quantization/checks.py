"""Checks of one INT8 module's numbers: scales, zero points and codes in range, and none that saturate on this CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ilit.errors import ArtefactError
from ilit_pytorch.engine import cpu

_MOST_CODE = 127  # the kernels take int8 weights, of which -128 is never used


def check_numbers(place: str, kind: str, meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check the ranges of one INT8 module's numbers, and that its largest codes do not saturate on this CPU.

    Args:
        place: the artefact's folder and the module's path, for the error.
        kind: of the module.
        meta: its ``meta()``.
        tensors: its ``tensors()``.

    Raises:
        ArtefactError: a scale that is not positive and finite, a zero point outside the codes, a weight code of -128,
            or codes whose products overflow 16 bits where this CPU sums in 16 bits.
    """
    for part in (meta, meta.get("quantizer", {}), meta.get("inner", {}).get("meta", {})):
        if "scale" in part:
            _check_static(place, part["scale"], part["zero_point"], part["max_code"])
        if "bits" in part and part["bits"] not in (7, 8):
            raise ArtefactError(
                f"{place}: activations of {part['bits']!r} bits are none of 7 and 8; write the model again"
            )
    for name in ("weight_scale", "smoothing", "bias", "centre"):
        _check_finite(place, name, tensors.get(name), positive=name in ("weight_scale", "smoothing"))
    weight = tensors.get("weight")
    if weight is None or not weight.numel():
        return
    _check_lengths(place, weight, tensors)
    low, high = (int(bound) for bound in torch.aminmax(weight))
    if weight.dtype != torch.int8 or low < -_MOST_CODE:
        raise ArtefactError(f"{place}: its weight is no int8 tensor of codes from -127; write the model again")
    largest = largest_activation(kind, meta)
    if largest and cpu.int8_class() == "A" and not cpu.is_safe(largest, max(high, -low)):
        raise ArtefactError(
            f"{place}: activation codes up to {largest} and weight codes up to {max(high, -low)} saturate in silence "
            f"on this CPU ({cpu.isa()}, class A); tune again on this CPU"
        )


def largest_activation(kind: str, meta: Mapping[str, Any]) -> int:
    """Return the largest activation code that can occur, 0 where no activation is multiplied."""
    if kind == "embedding":
        return 0
    if kind.startswith("island") and "inner" not in meta:
        return 255  # torch's quantized modules clamp there whatever the range
    quantizer = meta["inner"]["meta"]["quantizer"] if "inner" in meta else meta["quantizer"]
    return int(quantizer["max_code"]) if "max_code" in quantizer else (1 << int(quantizer["bits"])) - 1


def _check_lengths(place: str, weight: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
    lengths = {"weight_scale": weight.shape[0], "bias": weight.shape[0]}
    lengths |= dict.fromkeys(("smoothing", "centre"), weight.shape[-1])
    for name, length in lengths.items():
        tensor = tensors.get(name)
        if tensor is not None and (tensor.shape != (length,) or tensor.dtype != torch.float32):
            raise ArtefactError(
                f"{place}: {name} is {tensor.dtype} {tuple(tensor.shape)}, not float32 of {length}; write it again"
            )


def _check_static(place: str, text: Any, zero_point: Any, max_code: Any) -> None:
    if not isinstance(text, str) or ("0x" not in text and text not in ("nan", "inf", "-inf")):
        raise ArtefactError(f"{place}: the scale {text!r} is no hexadecimal number; write the model again")
    scale = float.fromhex(text)
    if not (math.isfinite(scale) and scale > 0.0):
        raise ArtefactError(f"{place}: a scale is {scale}, not positive and finite; write the model again")
    if type(zero_point) is not int or type(max_code) is not int or not 0 <= zero_point <= max_code <= 255:
        raise ArtefactError(
            f"{place}: the zero point {zero_point} is not within the codes 0 to {max_code}; write the model again"
        )


def _check_finite(place: str, name: str, tensor: torch.Tensor | None, positive: bool) -> None:
    if tensor is None:
        return
    if not bool(tensor.isfinite().all()) or (positive and bool((tensor <= 0).any())):
        kind = "positive and finite" if positive else "finite"
        raise ArtefactError(f"{place}: {name} holds a value that is not {kind}; write the model again")
