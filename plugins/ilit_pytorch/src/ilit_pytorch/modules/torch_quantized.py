"""torch's own quantized tensors and modules, built from plain int8 weights, float32 scales and output parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.ao.nn.intrinsic.quantized as fused_quantized
import torch.ao.nn.quantized as torch_quantized
from torch.ao.quantization.quantization_mappings import get_default_static_quant_module_mappings

from ilit_pytorch.engine.deprecation import silence_deprecation
from ilit_pytorch.modules.conv import Geometry
from ilit_pytorch.quantization.qparams import ActivationParams

TORCH_OPS: dict[tuple[str, bool], type] = {
    ("linear", False): torch_quantized.Linear,
    ("conv1d", False): torch_quantized.Conv1d,
    ("conv2d", False): torch_quantized.Conv2d,
    ("conv3d", False): torch_quantized.Conv3d,
    ("linear", True): fused_quantized.LinearReLU,
    ("conv1d", True): fused_quantized.ConvReLU1d,
    ("conv2d", True): fused_quantized.ConvReLU2d,
    ("conv3d", True): fused_quantized.ConvReLU3d,
}
QUANTIZED_FORMS = {
    name: quantized
    for name, quantized in get_default_static_quant_module_mappings().items()
    if name.__module__.startswith(("torch.nn.modules.", "torch.ao.nn.intrinsic.modules."))
    and hasattr(quantized, "from_float")
    and name.__name__ in ("BatchNorm2d", "BatchNorm3d", "BNReLU2d", "BNReLU3d", "ELU", "GroupNorm", "Hardswish",
                          "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "LeakyReLU")
}  # fmt: skip
"""Float class -> torch's quantized class, for modules whose quantized form needs only an output scale."""


def quantize(activation: torch.Tensor, params: ActivationParams) -> torch.Tensor:
    """Return a quint8 tensor; one that is quantized already is returned as it is."""
    if activation.is_quantized:
        return activation
    silence_deprecation()
    return torch.quantize_per_tensor(activation.float(), params.scale, params.zero_point, torch.quint8)


def torch_op(
    op: tuple[str, bool],
    weight: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    shape: Geometry | None,
) -> Any:
    """Return torch's quantized module around plain int8 codes; bit-equal to one converted by torch itself."""
    silence_deprecation()
    out, inner = weight.shape[:2]
    if shape is None:
        module: Any = TORCH_OPS[op](inner, out)
    else:
        stride, padding, dilation, groups = shape
        module = TORCH_OPS[op](
            inner * groups, out, tuple(weight.shape[2:]), tuple(stride), tuple(padding), tuple(dilation), groups
        )
    zeros = torch.zeros(out, dtype=torch.int64)
    codes = torch._make_per_channel_quantized_tensor(  # noqa: SLF001 - the one way from plain codes
        weight.contiguous(), scale.double(), zeros, 0
    )
    module.set_weight_bias(codes, bias)
    return module


class _OutputParams:
    """Answers what torch's ``from_float`` asks an observer for."""

    def __init__(self, params: ActivationParams) -> None:
        self.params = params

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(self.params.scale), torch.tensor(self.params.zero_point)


def torch_form(original: torch.nn.Module, params: ActivationParams) -> torch.nn.Module:
    """Return torch's quantized form of a module of ``QUANTIZED_FORMS``; ``params`` are its output's."""
    silence_deprecation()
    quantized = QUANTIZED_FORMS[type(original)]
    bare = original.__class__.__new__(original.__class__)
    bare.__dict__ = {**original.__dict__, "activation_post_process": _OutputParams(params)}  # the original stays clean
    form: torch.nn.Module = quantized.from_float(bare)
    return form
