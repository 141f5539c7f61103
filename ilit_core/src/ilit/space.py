"""The search space: which ``OpConfig``s each op may take, with what else a recipe may choose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from ilit.recipe import FLOAT32, OpConfig, Recipe, Scalar

__all__ = ["CalibrationSize", "Op", "SearchSpace"]


@dataclass(frozen=True)
class Op:
    """One quantizable operation.

    Attributes:
        name: its module path.
        kind: ``linear``, ``conv2d``, ``embedding``, ...
        candidates: what it may run in, preferred first; float32, where allowed, last.
        group: ops with the same group read the same input, so that alike activation configs cost one quantization
            for all of them; empty where the op reads an input of its own.
    """

    name: str
    kind: str
    candidates: tuple[OpConfig, ...]
    group: str = ""

    @cached_property
    def _allowed(self) -> frozenset[OpConfig]:
        return frozenset(self.candidates)

    def allows(self, config: OpConfig) -> bool:
        """Return whether ``config`` is among the candidates; fast however many there are."""
        return config in self._allowed

    @property
    def quantizable(self) -> bool:
        """True where at least one candidate is INT8."""
        return any(config.quantized for config in self.candidates)


@dataclass(frozen=True)
class CalibrationSize:
    """An amount of calibration data: ``128 rows`` or ``10 batches``. Its text names it in a ``Recipe``."""

    count: int
    unit: Literal["rows", "batches"] = "rows"

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"


@dataclass(frozen=True)
class SearchSpace:
    """Every recipe that adapter, CPU and configuration allow. Never enumerated: its size may be 10**30.

    Attributes:
        ops: op name -> ``Op`` in the model's order; read-only.
        calibrations: amounts of calibration data a recipe may take its ranges from, preferred first.
        transforms: model-wide transforms, name -> the values allowed, preferred first; read-only.
        left_in_float: module path -> why, in a few words: what is of a kind that can be quantized and is no op all the
            same; read-only.
    """

    ops: Mapping[str, Op] = field(default_factory=dict)
    calibrations: tuple[CalibrationSize, ...] = ()
    transforms: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    left_in_float: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ops", MappingProxyType(dict(self.ops)))
        object.__setattr__(self, "transforms", MappingProxyType(dict(self.transforms)))
        object.__setattr__(self, "left_in_float", MappingProxyType(dict(self.left_in_float)))

    def size(self) -> int:
        """Return the exact number of recipes."""
        per_op = math.prod(len(op.candidates) for op in self.ops.values())
        per_transform = math.prod(len(values) for values in self.transforms.values())
        return per_op * max(1, len(self.calibrations)) * per_transform

    def recipe(
        self, ops: Mapping[str, OpConfig], calibration: str = "", transforms: Mapping[str, Scalar] | None = None
    ) -> Recipe:
        """Return a recipe in which the ops not named take their first candidate, likewise what else is not named."""
        chosen = {name: ops.get(name, op.candidates[0]) for name, op in self.ops.items()}
        first = {name: values[0] for name, values in self.transforms.items()}
        size = calibration or (str(self.calibrations[0]) if self.calibrations else "")
        return Recipe(chosen, size, {**first, **(transforms or {})})

    def float_recipe(self) -> Recipe:
        """Return the recipe with every op in float32, whether the space allows that or not."""
        return self.recipe(dict.fromkeys(self.ops, FLOAT32))

    def model_wise(self) -> Iterator[Recipe]:
        """Yield the recipes that treat all ops alike, preferred first, without repeats.

        Each INT8 ``OpConfig`` of the space in turn is given to every op that allows it; the others take their first
        candidate. The whole list is gone through for each calibration size.
        """
        configs = dict.fromkeys(c for op in self.ops.values() for c in op.candidates if c.quantized)
        seen = set()
        for size in self.calibrations or ("",):
            for config in configs:
                chosen = {name: config for name, op in self.ops.items() if op.allows(config)}
                recipe = self.recipe(chosen, str(size))
                if recipe.digest not in seen:
                    seen.add(recipe.digest)
                    yield recipe

    def __contains__(self, recipe: object) -> bool:
        if not isinstance(recipe, Recipe) or set(recipe.ops) != set(self.ops):
            return False
        sizes = {str(size) for size in self.calibrations} or {""}
        return (
            recipe.calibration in sizes
            and all(self.ops[name].allows(config) for name, config in recipe.ops.items())
            and set(recipe.transforms) == set(self.transforms)
            and all(value in self.transforms[name] for name, value in recipe.transforms.items())
        )
