"""Functions for modeling code: in float the plain calls bit for bit, in INT8 one kernel where a recipe allows it.

The kernels' GELU and sum are those of the plain calls to float rounding; codes made in a kernel are at most one apart
from those made of its float output, where that lies between two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ilit_pytorch.engine import kernels
from ilit_pytorch.fused.conditions import is_identity, is_plain_value, is_static, post_op_of
from ilit_pytorch.module_parts.activation import SharedActivation, codes_of

Activation = Callable[[torch.Tensor], torch.Tensor]
Input = torch.Tensor | SharedActivation


def linear_activation(linear: torch.nn.Module, activation: Activation, x: torch.Tensor) -> torch.Tensor:
    """Return ``activation(linear(x))``.

    Where ``linear`` runs static in INT8 and ``activation`` is the exact GELU or ReLU, both are one kernel; GELU by
    ``tanh`` and all others are called as they are.

    Args:
        linear: a ``torch.nn.Linear``, or what lowering put in its place.
        activation: a module or function.
        x: (..., in), or what a ``QuantStub`` gives.

    Returns:
        The activated output, (..., out).
    """
    post_op = post_op_of(activation)
    if post_op is None or not _runs_fused(linear, x):
        return activation(linear(x))
    return kernels.linear(*_parts(linear, x), post_op)


def linear_add(
    linear: torch.nn.Module, x: torch.Tensor, residual: torch.Tensor, dropout: torch.nn.Module | None = None
) -> torch.Tensor:
    """Return ``dropout(linear(x)) + residual``.

    Where ``linear`` runs static in INT8 and the dropout is off, as in eval mode, the sum is part of its kernel.

    Args:
        linear: a ``torch.nn.Linear``, or what lowering put in its place.
        x: (..., in), or what a ``QuantStub`` gives.
        residual: (..., out); it is not written to.
        dropout: what stands between the two, if anything does.

    Returns:
        The sum, (..., out).
    """
    if not (_runs_fused(linear, x) and _adds(linear, x, residual, dropout)):
        plain: torch.Tensor = _after(dropout, linear(x)) + residual
        return plain
    return kernels.linear_add(*_parts(linear, x), residual)


def feed_forward(
    up: torch.nn.Module,
    activation: Activation,
    down: torch.nn.Module,
    x: torch.Tensor,
    residual: torch.Tensor,
    stub: torch.nn.Module | None = None,
    dropout: torch.nn.Module | None = None,
) -> torch.Tensor:
    """Return ``dropout(down(stub(activation(up(x))))) + residual``.

    Where both Linears run static in INT8, ``down`` without smoothing, and the activation is the exact GELU or ReLU,
    ``up`` gives the codes that ``down`` reads, and nothing between is in float. Else it is ``linear_activation`` and
    ``linear_add`` one after the other.

    Args:
        up: a ``torch.nn.Linear``, or what lowering put in its place.
        activation: a module or function.
        down: another Linear, the only reader of what is activated.
        x: (..., in), or what a ``QuantStub`` gives.
        residual: (..., out) of ``down``; it is not written to.
        stub: the ``QuantStub`` before ``down``, if there is one.
        dropout: what stands between ``down`` and the sum, if anything does.

    Returns:
        The sum, (..., out).
    """
    post_op = post_op_of(activation)
    if (
        post_op is not None
        and _runs_fused(up, x)
        and _takes_codes_of(down, up, stub)
        and _adds(down, x, residual, dropout)
    ):
        hidden = kernels.linear_codes(*_parts(up, x), post_op, _grid(down))
        return kernels.linear_add(hidden, *_weights(down), residual)
    return linear_add(down, _after(stub, linear_activation(up, activation, x)), residual, dropout)


def _runs_fused(linear: Any, x: Any) -> bool:
    return is_static(linear) and is_plain_value(x)


def _adds(linear: Any, x: Input, residual: Any, dropout: Any) -> bool:
    """Return whether the kernel of ``linear`` can add the residual to what comes of an input of x's leading axes."""
    return (
        is_plain_value(residual)
        and type(residual) is torch.Tensor
        and residual.shape == (*x.shape[:-1], linear.out_features)
        and residual.is_contiguous()
        and is_identity(dropout)
        and kernels.has_linear_add()
    )


def _takes_codes_of(down: Any, up: Any, stub: Any) -> bool:
    """Return whether ``down`` reads codes that the kernel of ``up`` can make: one scale and zero point for all."""
    return (
        is_static(down)
        and down.quantizer.smoothing is None
        and down.in_features == up.out_features
        and is_identity(stub)
    )


def _grid(linear: Any) -> tuple[float, int, int]:
    params = linear.quantizer.params
    return params.scale, params.zero_point, params.max_code


def _parts(linear: Any, x: Input) -> tuple[Any, Any, Any, Any]:
    """Quantize the input of an INT8 Linear and add what its kernel takes beside: packed weight, scales, bias."""
    return codes_of(x, linear.quantizer), *_weights(linear)


def _weights(linear: Any) -> tuple[Any, Any, Any]:
    return linear.packed, linear.weight_scale, linear.int8_bias


def _after(module: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if module is None else module(value)
