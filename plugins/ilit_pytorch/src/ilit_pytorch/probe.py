"""Cheap figures of a recipe on the kept calibration rows; no evaluation row is ever looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ilit.recipe import Recipe
from ilit_pytorch.batch import call, flat_predictions
from ilit_pytorch.calibrate import TorchCalibration
from ilit_pytorch.clone import leave_fast_path, structural_clone
from ilit_pytorch.lower import build_op, lower
from ilit_pytorch.modules.island import quantize


def distance(model: torch.nn.Module, recipe: Recipe, calibration: TorchCalibration) -> float:
    """Return the mean squared distance of the recipe's predictions to float32's, divided by the variance of those.

    0 where they are equal; ``inf`` where a prediction is not finite.
    """
    lowered = lower(model, recipe, calibration)
    with torch.no_grad():
        outputs = [flat_predictions(call(lowered, inputs)) for inputs in calibration.probe_batches]
    found, expected = np.concatenate(outputs), np.concatenate(calibration.probe_outputs)
    if not np.isfinite(found).all():
        return math.inf
    return _ratio(float(np.square(found - expected).sum()), float(np.square(expected - expected.mean()).sum()))


def op_distances(model: torch.nn.Module, recipe: Recipe, calibration: TorchCalibration) -> dict[str, float]:
    """Return each INT8 op's squared output error, divided by the variance of its float32 output.

    One pass of the float model, in which each op's INT8 form is given the op's float32 input as well.
    """
    clone = structural_clone(model)
    leave_fast_path(clone)
    errors = {name: _Error() for name in recipe.quantized_ops}
    for name, error in errors.items():
        module = clone.get_submodule(name)
        int8 = _float_to_float(module, name, recipe, calibration)
        module.register_forward_hook(_compare(int8, error), with_kwargs=True)
    with torch.no_grad():
        for inputs in calibration.probe_batches:
            call(clone, inputs)
    return {name: error.ratio() for name, error in errors.items()}


@dataclass
class _Error:
    """Running sums of one op's outputs."""

    squared: float = 0.0
    total: float = 0.0
    total_squared: float = 0.0
    count: int = 0

    def update(self, expected: torch.Tensor, found: torch.Tensor) -> None:
        self.squared += float((found - expected).square().sum())
        self.total += float(expected.sum())
        self.total_squared += float(expected.square().sum())
        self.count += expected.numel()

    def ratio(self) -> float:
        if not math.isfinite(self.squared) or self.count == 0:
            return math.inf
        return _ratio(self.squared, self.total_squared - self.total**2 / self.count)


def _ratio(squared: float, variance: float) -> float:
    if squared == 0.0:
        return 0.0
    return squared / variance if variance > 0.0 else math.inf


def _compare(int8: Callable[..., torch.Tensor], error: _Error) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any, output: torch.Tensor) -> None:
        error.update(output, int8(*args, **kwargs))

    return hook


def _float_to_float(
    module: torch.nn.Module, name: str, recipe: Recipe, calibration: TorchCalibration
) -> Callable[..., torch.Tensor]:
    """Return the op's INT8 form as a function of float tensors; in an island its input is quantized first."""
    site, config = calibration.structure.sites[name], recipe.ops[name]
    int8 = build_op(module, name, site, config, recipe.calibration, calibration)
    if site.island < 0 or config.approach != "static" or config.activation is None:
        return int8
    spec = config.activation
    params = calibration.params(recipe.calibration, f"{name}:in", spec)
    return lambda input: int8(quantize(input, params)).dequantize()  # noqa: A006 - named as torch names it
