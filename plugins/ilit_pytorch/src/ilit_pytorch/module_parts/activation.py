"""How a float activation becomes uint8 codes at run time, once for all ops that read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ilit.errors import LoweringError
from ilit.recipe import QuantSpec, Scheme
from ilit_pytorch.engine.kernels import Codes
from ilit_pytorch.engine.quantize import quantize, quantize_smoothed
from ilit_pytorch.quantization.qparams import TINY, ActivationParams, activation_params, max_activation_code
from ilit_pytorch.quantization.smoothing import Smoothing

NOT_FINITE = "the activation holds NaN or infinity, which no INT8 code stands for"


@dataclass(frozen=True)
class StaticQuantizer:
    """Codes from parameters found in calibration; values outside the range are clamped to it.

    With ``smoothing`` the codes are those of the smoothed activation, whose last axis is the channels.
    """

    params: ActivationParams
    smoothing: Smoothing | None = None

    def __post_init__(self) -> None:
        """Find, with smoothing, factor and offset from a value to its code before rounding.

        Here and not at the first call, which may be one of ``torch.export``: what that computes is no tensor to cache.
        """
        if self.smoothing is not None:
            factor = (1.0 / self.params.scale) / self.smoothing.vector
            object.__setattr__(self, "_steps", (factor, self.params.zero_point - self.smoothing.centre * factor))

    def __call__(self, activation: torch.Tensor) -> Codes:
        """Quantize a float32 activation of any shape. Halves are rounded to even codes."""
        scale, zero_point, top = self.params.scale, self.params.zero_point, self.params.max_code
        if self.smoothing is None:
            return Codes(quantize(activation, scale, zero_point, top), scale, zero_point)
        factor, offset = vars(self)["_steps"]
        return Codes(quantize_smoothed(activation, factor, offset, top), scale, zero_point)


@dataclass(frozen=True)
class DynamicQuantizer:
    """Codes from the range of the very activation at hand, all rows of the batch together."""

    spec: QuantSpec

    def __call__(self, activation: torch.Tensor) -> Codes:
        """Quantize a float32 activation of any shape."""
        if torch.compiler.is_exporting():
            raise LoweringError(
                "torch.export: an op with one scale for a whole dynamic activation reads its values, which a graph "
                "cannot; export a model with static or per-token ops (quantization.approach)"
            )
        if activation.numel() == 0:
            return Codes(torch.zeros_like(activation, dtype=torch.uint8), 1.0, 0)
        low, high = torch.aminmax(activation)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(NOT_FINITE)
        return StaticQuantizer(activation_params(float(low), float(high), self.spec))(activation)


@dataclass(frozen=True)
class TokenQuantizer:
    """Codes from each token's own range, symmetric: a token's codes do not depend on what is beside it in a batch.

    The kernels take one scale, so they are given 1 and their output is scaled per token afterwards, which costs them
    their fused post-ops.
    """

    spec: QuantSpec

    def __call__(self, activation: torch.Tensor) -> Codes:
        """Quantize a float32 activation (..., features); the zero point is the middle of the codes."""
        top = max_activation_code(self.spec.bits)
        middle = (top + 1) // 2
        if activation.numel() == 0:
            ones = torch.ones(*activation.shape[:-1], 1)
            return Codes(torch.zeros_like(activation, dtype=torch.uint8), ones, middle)
        low, high = (
            activation.amin(-1, keepdim=True),
            activation.amax(-1, keepdim=True),
        )  # aminmax takes 10 times as long
        reach = torch.maximum(-low, high)  # (..., 1)
        if torch.compiler.is_exporting():
            torch._assert_async(torch.isfinite(reach).all(), NOT_FINITE)  # noqa: SLF001 - the check that graphs retain
        elif not bool(torch.isfinite(reach).all()):
            raise ValueError(NOT_FINITE)
        scale = reach.div_(top - middle).clamp_min_(TINY)
        return Codes(quantize(activation.div(scale), 1.0, middle, top), scale, middle)


Quantizer = StaticQuantizer | DynamicQuantizer | TokenQuantizer


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
            self._codes[quantizer] = quantizer(_float32(self.tensor))
        return self._codes[quantizer]


def codes_of(activation: torch.Tensor | SharedActivation, quantizer: Quantizer) -> Codes:
    """Quantize a plain activation, or take the codes that another reader of a shared one has made."""
    if isinstance(activation, SharedActivation):
        return activation.codes(quantizer)
    return quantizer(_float32(activation))


def _float32(activation: torch.Tensor) -> torch.Tensor:
    """Return the values to quantize: half a code is less than a bfloat16 or float16 number can tell."""
    if not isinstance(activation, torch.Tensor) or not activation.dtype.is_floating_point:
        kind = activation.dtype if isinstance(activation, torch.Tensor) else type(activation).__name__
        raise LoweringError(f"an INT8 op takes a floating-point tensor, not {kind}")
    plain = activation.detach() if activation.requires_grad else activation
    return plain if plain.dtype == torch.float32 else plain.float()


def quantizer_meta(quantizer: Quantizer) -> dict[str, Any]:
    """Return a JSON object that ``quantizer_from`` reads back to an equal quantizer, given ``quantizer_tensors``."""
    if isinstance(quantizer, StaticQuantizer):
        return quantizer.params.to_json()
    per_token = {"granularity": "per_token"} if isinstance(quantizer, TokenQuantizer) else {}
    return {"scheme": quantizer.spec.scheme, "bits": quantizer.spec.bits, **per_token}


def quantizer_tensors(quantizer: Quantizer) -> dict[str, torch.Tensor]:
    """Return the tensors beside ``quantizer_meta``: ``smoothing`` and ``centre``, float32 (in,), where there are any.

    They are copies: ops and recipes share one smoothing, and what somebody does to a state dict is done to that alone.
    """
    smoothing = quantizer.smoothing if isinstance(quantizer, StaticQuantizer) else None
    return {} if smoothing is None else {"smoothing": smoothing.vector.clone(), "centre": smoothing.centre.clone()}


def quantizer_from(meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Quantizer:
    """Read what ``quantizer_meta`` and ``quantizer_tensors`` wrote."""
    if "scale" in meta:
        smoothing = Smoothing(tensors["smoothing"], tensors["centre"]) if "smoothing" in tensors else None
        return StaticQuantizer(ActivationParams.from_json(meta), smoothing)
    scheme: Scheme = "sym" if meta["scheme"] == "sym" else "asym"
    if meta.get("granularity") == "per_token":
        return TokenQuantizer(QuantSpec("uint8", "sym", "per_token", "minmax", int(meta["bits"])))
    return DynamicQuantizer(QuantSpec("uint8", scheme, "per_tensor", "minmax", int(meta["bits"])))


def quantizer_for(spec: QuantSpec, params: ActivationParams | None, smoothing: Smoothing | None = None) -> Quantizer:
    """Return a static quantizer where ``params`` are known, else a dynamic one (top code from the spec's bits)."""
    if params is None:
        return TokenQuantizer(spec) if spec.granularity == "per_token" else DynamicQuantizer(spec)
    if params.max_code != max_activation_code(spec.bits):
        raise ValueError(f"parameters up to code {params.max_code} do not fit {spec.bits} bits")
    return StaticQuantizer(params, smoothing)
