"""Lowering one op: its weight as codes, how its input becomes codes, and the INT8 module made of the two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ilit.errors import LoweringError
from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit_pytorch.engine import kernels
from ilit_pytorch.lowering.packs import Pack
from ilit_pytorch.lowering.session import LoweringSession
from ilit_pytorch.model.clone import own_copy
from ilit_pytorch.model.weights import output_first
from ilit_pytorch.module_parts.activation import Quantizer, quantizer_for
from ilit_pytorch.modules.conv import Int8Conv, geometry, padding_before
from ilit_pytorch.modules.embedding import Int8Embedding
from ilit_pytorch.modules.island import IslandOp
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.quantization.bias_correction import bias_shift
from ilit_pytorch.quantization.qparams import quantize_weight, weight_codes

BIAS_CORRECTION = "bias_correction"
"""The model-wide transform of a recipe; False where it is absent."""


def build_op(session: LoweringSession, name: str, recipe: Recipe) -> torch.nn.Module:
    """Return the INT8 module for one op of a recipe."""
    site, config = session.structure.sites[name], recipe.ops[name]
    op = session.float_op(name)
    spec = weight_spec(name, config)
    if config.approach == "static" and site.island >= 0:
        weight, scale = quantize_weight(output_first(op), spec)
        params = session.params(recipe.calibration, f"{name}:out", activation_spec(name, config))
        shape = None if site.kind == "linear" else geometry(op)
        return IslandOp((site.kind, site.relu), weight, scale, _bias(op), shape, params)

    def make() -> Pack:
        return _packed(op, site.kind, round_weight(session, name, recipe))

    pack = session.cache.packs.get((name, spec, config.smoothing, recipe.calibration), op.weight, make)
    if site.kind == "embedding":
        return Int8Embedding(own_copy(pack.codes), own_copy(pack.scale))
    quantizer = input_quantizer(session, name, recipe)
    fold = session.structure.folds.get(name)
    relu = site.relu or (fold is not None and bool(fold.relu))
    bias, post_op = lowered_bias(op, pack, recipe), "relu" if relu else "none"
    if site.kind == "linear":
        return Int8Linear(pack.codes, own_copy(pack.scale), bias, quantizer, post_op)
    conv = Int8Conv(pack.codes, own_copy(pack.scale), bias, geometry(op), quantizer, post_op, fold is not None)
    conv.padded = padding_before(op)
    conv.channels_last = session.structure.channels_last and site.kind != "conv1d"
    return conv


def input_quantizer(session: LoweringSession, name: str, recipe: Recipe) -> Quantizer:
    """Return the quantizer of the input of an op outside islands."""
    config, size = recipe.ops[name], recipe.calibration
    spec = activation_spec(name, config)
    if config.approach != "static":
        return quantizer_for(spec, None)
    smoothing = session.smoothing(size, name, config.smoothing)
    params = session.params(size, session.structure.input_of(name), spec, smoothing)
    return quantizer_for(spec, params, smoothing)


def round_weight(session: LoweringSession, name: str, recipe: Recipe) -> Pack:
    """Return an op's weight as plain int8 codes of its shape, with what rounding and smoothing add to the bias."""
    config, size, op = recipe.ops[name], recipe.calibration, session.float_op(name)
    smoothing = session.smoothing(size, name, config.smoothing)
    plain = output_first(op).detach()
    weight = plain if smoothing is None else plain * smoothing.vector
    codes, scale = weight_codes(weight, weight_spec(name, config))
    channels = session.calibration.channels(size, session.structure.input_of(name))
    shift = centre = None
    if channels is not None and bool(torch.isfinite(channels.mean).all()):
        mean = channels.mean if smoothing is None else (channels.mean - smoothing.centre) / smoothing.vector
        shift = bias_shift(weight, codes, scale, mean, getattr(op, "groups", 1))
    if smoothing is not None:
        centre = plain.float() @ smoothing.centre  # (out,)
    return Pack(codes.to(torch.int8), scale, shift, centre)


def weight_spec(name: str, config: OpConfig) -> QuantSpec:
    """Return an INT8 op's weight spec.

    Raises:
        LoweringError: it has none.
    """
    if config.weight is None:
        raise LoweringError(f"{name}: an INT8 op needs a weight spec")
    return config.weight


def activation_spec(name: str, config: OpConfig) -> QuantSpec:
    """Return an INT8 op's activation spec.

    Raises:
        LoweringError: it has none.
    """
    if config.activation is None:
        raise LoweringError(f"{name}: a {config.approach} op needs an activation spec")
    return config.activation


def lowered_bias(op: Any, pack: Pack, recipe: Recipe) -> torch.Tensor | None:
    """Return the bias that an op runs with in INT8, float32 (out,)."""
    return _bias(op, pack.shift if recipe.transforms.get(BIAS_CORRECTION) else None, pack.centre)


def _packed(op: Any, kind: str, rounded: Pack) -> Pack:
    if kind == "embedding":
        return rounded
    packed = kernels.pack_linear(rounded.codes) if kind == "linear" else None
    if packed is None:
        packed = kernels.pack_conv(rounded.codes, rounded.scale, geometry(op))
    return replace(rounded, codes=packed)


def _bias(op: Any, *shifts: torch.Tensor | None) -> torch.Tensor | None:
    """Return the op's bias as the lowered op's own, with the given shifts added; None where there is nothing."""
    first, *others = [value for value in (op.bias, *shifts) if value is not None] or [None]
    bias = None if first is None else first.detach().to(torch.float32, copy=not others)
    for shift in others:
        bias = bias + shift
    return bias
