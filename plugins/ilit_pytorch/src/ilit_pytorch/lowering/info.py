"""What a lowered model says of itself: its recipe, its CPU, and which of its modules lowering put in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ilit.adapter import Cpu
from ilit.recipe import Recipe
from ilit_pytorch.model.clone import submodule
from ilit_pytorch.module_parts.lowered import Lowered

QUANTIZATION = {"quant_method": "ilit"}
"""What a transformers config says of a lowered model, which transformers by itself cannot read."""


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


def say_in_config(lowered: Any) -> None:
    """Let a transformers config, the clone's own, say what the model is, so that ``save_pretrained`` writes it."""
    config: Any = getattr(lowered, "config", None)
    if hasattr(config, "to_json_string"):
        config.quantization_config = dict(QUANTIZATION)


def lowered_modules(model: torch.nn.Module) -> list[Lowered]:
    """Return the modules of a lowered model that lowering put there, those inside others left out."""
    paths = getattr(model, "ilit").paths if hasattr(model, "ilit") else {}  # noqa: B009 - modules are typed as tensors
    return [module for path in paths if isinstance(module := submodule(model, path), Lowered)]


def int8_kernels(model: torch.nn.Module) -> int:
    """Return the number of INT8 kernels in the lowered modules; each was seen to be called in the trace."""
    return sum(module.int8_kernels for module in lowered_modules(model))
