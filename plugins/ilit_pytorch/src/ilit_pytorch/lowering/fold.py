"""A BatchNorm folded into the convolution before it: exact in eval mode, but for float32's rounding."""

from __future__ import annotations

import copy
from typing import Any

import torch


def folded(conv: Any, norm: Any) -> Any:
    """Return a convolution that computes ``norm(conv(x))`` as ``norm`` does in eval mode.

    Computed in float64 and rounded once: factor = weight / sqrt(running_var + eps), the convolution's weight times
    factor, and (bias - running_mean) * factor plus the BatchNorm's bias.

    Args:
        conv: a Conv1d, Conv2d or Conv3d; left as it is.
        norm: a BatchNorm of its output channels with running statistics; left as it is.
    """
    with torch.no_grad():
        factor = (norm.running_var.double() + norm.eps).rsqrt()  # (out,)
        factor = factor if norm.weight is None else factor * norm.weight.double()
        bias = 0.0 if conv.bias is None else conv.bias.double()
        bias = (bias - norm.running_mean.double()) * factor  # (out,)
        bias = bias if norm.bias is None else bias + norm.bias.double()
        weight = conv.weight.double() * factor.reshape(-1, *[1] * (conv.weight.ndim - 1))
    new = copy.copy(conv)
    vars(new)["_parameters"] = {
        "weight": torch.nn.Parameter(weight.float(), requires_grad=False),
        "bias": torch.nn.Parameter(bias.float(), requires_grad=False),
    }
    return new
