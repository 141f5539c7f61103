"""From (model, recipe, calibration) to an INT8 module; the given model is never touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ilit.adapter import Cpu
from ilit.errors import LoweringError
from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit_pytorch import cpu, kernels
from ilit_pytorch.calibrate import TorchCalibration
from ilit_pytorch.clone import leave_fast_path, own_copy, structural_clone, submodule
from ilit_pytorch.computed_weights import float_op
from ilit_pytorch.modules.activation import Quantizer, quantizer_for
from ilit_pytorch.modules.bfloat16 import BFloat16Linear
from ilit_pytorch.modules.conv import Geometry, Int8Conv, geometry
from ilit_pytorch.modules.embedding import Int8Embedding
from ilit_pytorch.modules.island import IslandEnd, IslandFloat, IslandFunctional, IslandOp, IslandStart, lower_other
from ilit_pytorch.modules.linear import Int8Linear
from ilit_pytorch.modules.lowered import Lowered
from ilit_pytorch.modules.stub import FloatReader, SharedSource
from ilit_pytorch.packs import Pack
from ilit_pytorch.qparams import ActivationParams, quantize_weight, weight_codes
from ilit_pytorch.structure import Island
from ilit_pytorch.transforms.bias import bias_shift

BIAS_CORRECTION = "bias_correction"
"""The model-wide transform of a recipe; False where it is absent."""

QUANTIZATION = {"quant_method": "ilit"}
"""What a transformers config says of a lowered model, which transformers by itself cannot read."""

KEEPS_SCALE = ActivationParams(1.0, 0, 255)
"""For a FloatFunctional of which only ``add_scalar`` or ``mul_scalar`` is used: torch derives the output's own."""


@dataclass(frozen=True)
class LoweringInfo:
    """What a lowered model says of itself, as its attribute ``ilit``.

    Attributes:
        recipe: what it was lowered by.
        cpu: the CPU it was lowered on, whose class decides which codes are safe.
        paths: float module path -> kind of what stands there now.
    """

    recipe: Recipe
    cpu: Cpu
    paths: dict[str, str]


def lower(model: torch.nn.Module, recipe: Recipe, calibration: TorchCalibration) -> torch.nn.Module:
    """Return the INT8 model, in eval mode, with a ``LoweringInfo`` as its attribute ``ilit``.

    Float parameters are shared with ``model``. Packed weights are the calibration's, made once for all recipes and
    never written; other tensors are the returned model's own. A recipe with every op in float gives a clone whose
    outputs are bit-equal to the model's.

    Raises:
        LoweringError: the recipe does not fit the model or calibration, or the engine rejects it.
    """
    unknown = sorted(set(recipe.ops) - set(calibration.structure.sites))
    if unknown:
        raise LoweringError(f"the recipe names {unknown[0]}, which the calibrated model does not have")
    new = _lowered_modules(model, recipe, calibration)
    lowered = structural_clone(model, new, own=True)
    if new:
        leave_fast_path(lowered)
    info = LoweringInfo(recipe, cpu.describe(), {path: module.kind for path, module in new.items()})
    if new:
        say_in_config(lowered)
    lowered.ilit = info  # type: ignore[assignment]  # a module may hold any attribute
    return lowered


def say_in_config(lowered: Any) -> None:
    """Let a transformers config, the clone's own, say what the model is, so that ``save_pretrained`` writes it."""
    config: Any = getattr(lowered, "config", None)
    if hasattr(config, "to_json_string"):
        config.quantization_config = dict(QUANTIZATION)


def build_op(model: torch.nn.Module, name: str, recipe: Recipe, calibration: TorchCalibration) -> torch.nn.Module:
    """Return the INT8 module for one op of a recipe; ``model`` is the float model."""
    site, config = calibration.structure.sites[name], recipe.ops[name]
    op = float_op(model, name, calibration)
    spec = weight_spec(name, config)
    if config.approach == "static" and site.island >= 0:
        weight, scale = quantize_weight(op.weight, spec)
        params = calibration.params(recipe.calibration, f"{name}:out", activation_spec(name, config))
        shape = None if site.kind == "linear" else geometry(op)
        return IslandOp((site.kind, site.relu), weight, scale, _bias(op), shape, params)

    def make() -> Pack:
        return _packed(op, site.kind, round_weight(model, name, recipe, calibration))

    pack = calibration.packs.get((name, spec, config.smoothing, recipe.calibration), op.weight, make)
    if site.kind == "embedding":
        return Int8Embedding(own_copy(pack.codes), own_copy(pack.scale))
    quantizer = input_quantizer(model, name, recipe, calibration)
    bias, post_op = lowered_bias(op, pack, recipe), "relu" if site.relu else "none"
    if site.kind == "linear":
        return Int8Linear(pack.codes, own_copy(pack.scale), bias, quantizer, post_op)
    return Int8Conv(pack.codes, own_copy(pack.scale), bias, _geometry(op), quantizer, post_op)


def input_quantizer(model: torch.nn.Module, name: str, recipe: Recipe, calibration: TorchCalibration) -> Quantizer:
    """Return how the input of an op outside islands becomes codes."""
    config, size = recipe.ops[name], recipe.calibration
    spec = activation_spec(name, config)
    if config.approach != "static":
        return quantizer_for(spec, None)
    smoothing = calibration.smoothing(model, size, name, config.smoothing)
    params = calibration.params(size, calibration.structure.input_of(name), spec, smoothing)
    return quantizer_for(spec, params, smoothing)


def round_weight(model: torch.nn.Module, name: str, recipe: Recipe, calibration: TorchCalibration) -> Pack:
    """Return an op's weight as plain int8 codes of its shape, with what rounding and smoothing add to the bias."""
    config, size, op = recipe.ops[name], recipe.calibration, float_op(model, name, calibration)
    smoothing = calibration.smoothing(model, size, name, config.smoothing)
    weight = op.weight.detach() if smoothing is None else op.weight.detach() * smoothing.vector
    codes, scale = weight_codes(weight, weight_spec(name, config))
    channels = calibration.channels(size, calibration.structure.input_of(name))
    shift = centre = None
    if channels is not None and bool(torch.isfinite(channels.mean).all()):
        mean = channels.mean if smoothing is None else (channels.mean - smoothing.centre) / smoothing.vector
        shift = bias_shift(weight, codes, scale, mean, getattr(op, "groups", 1))
    if smoothing is not None:
        centre = op.weight.detach().float() @ smoothing.centre  # (out,)
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
        packed = kernels.pack_conv(rounded.codes, rounded.scale, _geometry(op))
    return replace(rounded, codes=packed)


def _geometry(op: Any) -> Geometry:
    shape = geometry(op)
    if shape is None:
        raise LoweringError(f"{type(op).__name__}: the INT8 kernels cannot pad as this convolution does")
    return shape


def _bias(op: Any, *shifts: torch.Tensor | None) -> torch.Tensor | None:
    """Return the op's bias as the lowered op's own, with the given shifts added; None where there is nothing."""
    first, *others = [value for value in (op.bias, *shifts) if value is not None] or [None]
    bias = None if first is None else first.detach().to(torch.float32, copy=not others)
    for shift in others:
        bias = bias + shift
    return bias


def lowered_modules(model: torch.nn.Module) -> list[Lowered]:
    """Return the modules of a lowered model that lowering put there, those inside others left out."""
    paths = getattr(model, "ilit").paths if hasattr(model, "ilit") else {}  # noqa: B009 - modules are typed as tensors
    return [module for path in paths if isinstance(module := submodule(model, path), Lowered)]


def int8_kernels(model: torch.nn.Module) -> int:
    """Return how many INT8 kernels the lowered modules hold; each was seen to be called in the trace."""
    return sum(module.int8_kernels for module in lowered_modules(model))


def _lowered_modules(model: torch.nn.Module, recipe: Recipe, calibration: TorchCalibration) -> dict[str, Any]:
    structure, new = calibration.structure, {}
    for name, config in recipe.ops.items():
        if config.quantized:
            new[name] = build_op(model, name, recipe, calibration)
            if structure.sites[name].computed:
                vars(new[name]).update(computed=True, computing=structure.sites[name].computing)
        elif config.dtype == "bfloat16":
            new[name] = BFloat16Linear(_own(model, name))
    for stub, readers in structure.shared.items():
        if any(reader in new for reader in readers):
            new[stub] = SharedSource()
            floats = (reader for reader in readers if reader not in new)
            new.update({reader: FloatReader(_own(model, reader)) for reader in floats})
    active = False
    for island in structure.islands:
        first = next((recipe.ops[op] for op in island.ops if _static(recipe, op)), None)
        if first is not None:
            active = True
            new.update(_island_modules(model, island, first, recipe, calibration, new))
    if active:
        new.update({stub: IslandEnd() for stub in structure.dequant_stubs})
    return new


def _own(model: torch.nn.Module, name: str) -> torch.nn.Module:
    return structural_clone(submodule(model, name), own=True).requires_grad_(False)


def _island_modules(
    model: torch.nn.Module,
    island: Island,
    config: OpConfig,
    recipe: Recipe,
    calibration: TorchCalibration,
    built: dict[str, Any],
) -> dict[str, Any]:
    """Return what an island needs beside its static ops. Its stubs and other modules use the first static op's spec."""
    spec = config.activation
    if spec is None:
        raise LoweringError(f"{island.ops[0]}: a static op needs an activation spec")

    def params(name: str) -> Any:
        return calibration.params(recipe.calibration, f"{name}:out", spec)

    def plain(name: str) -> torch.nn.Module:
        return _own(model, name)

    new: dict[str, Any] = {stub: IslandStart(params(stub)) for stub in island.stubs}
    seen = calibration.seen[recipe.calibration].stats if recipe.calibration in calibration.seen else {}
    functionals = {name: params(name) if f"{name}:out" in seen else KEEPS_SCALE for name in island.functionals}
    new.update({name: IslandFunctional(own) for name, own in functionals.items()})
    for op in island.ops:
        if not _static(recipe, op):
            new[op] = IslandFloat(built.get(op, plain(op)), params(op))
    for name in island.others:
        other = lower_other(plain(name), params(name) if f"{name}:out" in seen else None)
        if other is not None:
            new[name] = other
    return new


def _static(recipe: Recipe, op: str) -> bool:
    return op in recipe.ops and recipe.ops[op].approach == "static"
