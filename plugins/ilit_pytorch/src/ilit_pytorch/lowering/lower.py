"""From a model, its calibration and a recipe to an INT8 model; the given model is never touched."""

from __future__ import annotations

from typing import Any

import torch

from ilit.errors import LoweringError
from ilit.recipe import OpConfig, Recipe
from ilit_pytorch.engine import cpu
from ilit_pytorch.lowering.info import LoweringInfo, say_in_config
from ilit_pytorch.lowering.op import build_op
from ilit_pytorch.lowering.session import LoweringSession
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, submodule
from ilit_pytorch.model.structure import Fold, Island
from ilit_pytorch.modules.bfloat16 import BFloat16Linear
from ilit_pytorch.modules.folded import FoldedNorm, FoldedRelu
from ilit_pytorch.modules.island import IslandEnd, IslandFloat, IslandFunctional, IslandStart, lower_other
from ilit_pytorch.modules.stub import FloatReader, SharedSource
from ilit_pytorch.quantization.qparams import ActivationParams

KEEPS_SCALE = ActivationParams(1.0, 0, 255)
"""For a FloatFunctional of which only ``add_scalar`` or ``mul_scalar`` is used: torch derives the output's own."""


def lower(session: LoweringSession, recipe: Recipe) -> torch.nn.Module:
    """Return the INT8 model, in eval mode, with a ``LoweringInfo`` as its attribute ``ilit``.

    Float parameters are shared with the session's model. Packed weights are the cache's, made once for all recipes and
    never written; other tensors are the returned model's own. A recipe with every op in float gives a clone whose
    outputs are bit-equal to the model's.

    Raises:
        LoweringError: the recipe does not fit the model or calibration, or the engine rejects it.
    """
    unknown = sorted(set(recipe.ops) - set(session.structure.sites))
    if unknown:
        raise LoweringError(f"the recipe names {unknown[0]}, which the calibrated model does not have")
    new = _lowered_modules(session, recipe)
    lowered = structural_clone(session.model, new, own=True)
    if new:
        leave_fast_path(lowered)
    info = LoweringInfo(recipe, cpu.describe(), {path: module.kind for path, module in new.items()})
    if new:
        say_in_config(lowered)
    lowered.ilit = info  # type: ignore[assignment]  # a module may hold any attribute
    return lowered


def _lowered_modules(session: LoweringSession, recipe: Recipe) -> dict[str, Any]:
    structure, new = session.structure, {}
    for name, config in recipe.ops.items():
        if config.quantized:
            new[name] = build_op(session, name, recipe)
            if structure.sites[name].computed:
                vars(new[name]).update(computed=True, computing=structure.sites[name].computing)
            new.update(folded_modules(structure.folds.get(name)))
        elif config.dtype == "bfloat16":
            new[name] = BFloat16Linear(_own(session.model, name))
    for stub, readers in structure.shared.items():
        if any(reader in new for reader in readers):
            new[stub] = SharedSource()
            floats = (reader for reader in readers if reader not in new)
            new.update({reader: FloatReader(_own(session.model, reader)) for reader in floats})
    active = False
    for island in structure.islands:
        first = next((recipe.ops[op] for op in island.ops if _static(recipe, op)), None)
        if first is not None:
            active = True
            new.update(_island_modules(session, island, first, recipe, new))
    if active:
        new.update({stub: IslandEnd() for stub in structure.dequant_stubs})
    return new


def folded_modules(fold: Fold | None) -> dict[str, Any]:
    """Return the stand-ins, by path, of the modules that an INT8 convolution does along with its sums."""
    if fold is None:
        return {}
    return {fold.norm: FoldedNorm(), **({fold.relu: FoldedRelu()} if fold.relu else {})}


def _own(model: torch.nn.Module, name: str) -> torch.nn.Module:
    return structural_clone(submodule(model, name), own=True).requires_grad_(False)


def _island_modules(
    session: LoweringSession, island: Island, config: OpConfig, recipe: Recipe, built: dict[str, Any]
) -> dict[str, Any]:
    """Return the modules an island needs beside its static ops; stubs and others use the first static op's spec."""
    spec = config.activation
    if spec is None:
        raise LoweringError(f"{island.ops[0]}: a static op needs an activation spec")

    def params(name: str) -> Any:
        return session.params(recipe.calibration, f"{name}:out", spec)

    def plain(name: str) -> torch.nn.Module:
        return _own(session.model, name)

    new: dict[str, Any] = {stub: IslandStart(params(stub)) for stub in island.stubs}
    sizes = session.calibration.seen
    seen = sizes[recipe.calibration].stats if recipe.calibration in sizes else {}
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
