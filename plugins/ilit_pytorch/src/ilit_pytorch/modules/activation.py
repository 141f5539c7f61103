"""How a float activation becomes uint8 codes at run time, once for all ops that read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ilit.recipe import QuantSpec, Scheme
from ilit_pytorch.qparams import ActivationParams, activation_params, max_activation_code


class Codes(NamedTuple):
    """A quantized activation: ``value = (codes - zero_point) * scale``, codes uint8 of the activation's shape."""

    codes: torch.Tensor
    scale: float
    zero_point: int


@dataclass(frozen=True)
class StaticQuantizer:
    """Codes from parameters found in calibration; values outside the range are clamped to it."""

    params: ActivationParams

    def __call__(self, activation: torch.Tensor) -> Codes:
        """Quantize a float32 activation of any shape. Halves are rounded up."""
        scale, zero_point, top = self.params.scale, self.params.zero_point, self.params.max_code
        # Truncation to uint8 is a floor here, since the clamp has removed what is negative: 0.5 more is rounding.
        shifted = activation.mul(1.0 / scale).add_(zero_point + 0.5).clamp_(0.0, top + 0.5)
        return Codes(shifted.to(torch.uint8), scale, zero_point)


@dataclass(frozen=True)
class DynamicQuantizer:
    """Codes from the range of the very activation at hand, all rows of the batch together."""

    spec: QuantSpec

    def __call__(self, activation: torch.Tensor) -> Codes:
        """Quantize a float32 activation of any shape."""
        if activation.numel() == 0:
            return Codes(torch.zeros_like(activation, dtype=torch.uint8), 1.0, 0)
        low, high = torch.aminmax(activation)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("the activation holds NaN or infinity, which no INT8 code stands for")
        return StaticQuantizer(activation_params(float(low), float(high), self.spec))(activation)


Quantizer = StaticQuantizer | DynamicQuantizer


LOOKING_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device", "is_quantized", "requires_grad"})
LOOKING_METHODS = frozenset({"size", "dim", "numel", "stride", "is_floating_point", "is_complex"})
"""What a model may ask of an activation without reading its values, and ``len``."""


class SharedActivation:
    """A float activation on its way to several readers; its codes are made once for each distinct quantizer."""

    __slots__ = ("_codes", "tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self._codes: dict[Quantizer, Codes] = {}

    def __getattr__(self, name: str) -> Any:
        """Answer what is asked of the tensor's form; its values go to readers only."""
        if name in LOOKING_ATTRIBUTES or name in LOOKING_METHODS:
            return getattr(self.tensor, name)
        raise AttributeError(f"an activation behind a lowered QuantStub has no {name!r}; only ops may read it")

    def __len__(self) -> int:
        """Return the size of the first axis."""
        return len(self.tensor)

    def codes(self, quantizer: Quantizer) -> Codes:
        """Return the codes by this quantizer, made at the first call."""
        if quantizer not in self._codes:
            self._codes[quantizer] = quantizer(self.tensor)
        return self._codes[quantizer]


def codes_of(activation: torch.Tensor | SharedActivation, quantizer: Quantizer) -> Codes:
    """Quantize a plain activation, or take the codes that another reader of a shared one has made."""
    return activation.codes(quantizer) if isinstance(activation, SharedActivation) else quantizer(activation)


def quantizer_meta(quantizer: Quantizer) -> dict[str, Any]:
    """Return a JSON object that ``quantizer_from`` reads back to an equal quantizer."""
    if isinstance(quantizer, StaticQuantizer):
        return quantizer.params.to_json()
    return {"scheme": quantizer.spec.scheme, "bits": quantizer.spec.bits}


def quantizer_from(meta: Mapping[str, Any]) -> Quantizer:
    """Read what ``quantizer_meta`` wrote."""
    if "scale" in meta:
        return StaticQuantizer(ActivationParams.from_json(meta))
    scheme: Scheme = "sym" if meta["scheme"] == "sym" else "asym"
    return DynamicQuantizer(QuantSpec("uint8", scheme, "per_tensor", "minmax", int(meta["bits"])))


def quantizer_for(spec: QuantSpec, params: ActivationParams | None) -> Quantizer:
    """Return a static quantizer where ``params`` are known, else a dynamic one (top code from the spec's bits)."""
    if params is None:
        return DynamicQuantizer(spec)
    if params.max_code != max_activation_code(spec.bits):
        raise ValueError(f"parameters up to code {params.max_code} do not fit {spec.bits} bits")
    return StaticQuantizer(params)
