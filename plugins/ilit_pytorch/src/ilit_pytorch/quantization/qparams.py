"""From a range to a scale and zero point, and from a float weight to int8 codes. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ilit.recipe import QuantSpec
from ilit_pytorch.quantization.clipping import LEAST_SCALE, grid, weight_clip

TINY = LEAST_SCALE


def max_activation_code(bits: int) -> int:
    """Return the largest activation code used: 255 for 8 bits, 127 for 7 (uint8 in both)."""
    return (1 << bits) - 1


def max_weight_code(bits: int) -> int:
    """Return the largest weight code used: 127 for 8 bits, 63 for 7 (int8, symmetric, in both)."""
    return (1 << (bits - 1)) - 1


@dataclass(frozen=True)
class ActivationParams:
    """Scale and zero point of a uint8 activation: ``value = (code - zero_point) * scale``, codes in 0..max_code."""

    scale: float
    zero_point: int
    max_code: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to the last bit: the scale is in hex."""
        return {"scale": self.scale.hex(), "zero_point": self.zero_point, "max_code": self.max_code}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ActivationParams:
        """Read what ``to_json`` wrote."""
        return cls(float.fromhex(data["scale"]), int(data["zero_point"]), int(data["max_code"]))


def activation_params(low: float, high: float, spec: QuantSpec) -> ActivationParams:
    """Return the parameters whose codes cover ``low`` to ``high`` and hit 0.0 exactly.

    Worked number: -1.0 to 3.0, asym, 8 bits: scale 4 / 255 = 0.01569, zero point round(1 / 0.01569) = 64.
    """
    top = max_activation_code(spec.bits)
    return ActivationParams(*grid(low, high, spec.scheme, top), top)


def quantize_weight(weight: torch.Tensor, spec: QuantSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 codes of the weight's shape and float32 scales of shape (out,), symmetric around 0.

    The first axis is the output channel. ``per_tensor`` gives every channel the same scale.
    """
    codes, scale = weight_codes(weight, spec)
    return codes.to(torch.int8), scale


def weight_codes(weight: torch.Tensor, spec: QuantSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same with the codes still in float32, to compute with."""
    weight = weight.detach().to(torch.float32)
    flat = weight.reshape(weight.shape[0], -1)  # (out, rest)
    top = max_weight_code(spec.bits)
    if spec.granularity == "per_tensor":
        clip = weight_clip(flat.reshape(1, -1), spec.algorithm, top).expand(flat.shape[0])  # (out,)
    else:
        clip = weight_clip(flat, spec.algorithm, top)  # (out,)
    scale = (clip / top).clamp_min(TINY)
    codes = flat.div(scale[:, None]).round_().clamp_(-top, top)
    return codes.reshape(weight.shape), scale.contiguous()
