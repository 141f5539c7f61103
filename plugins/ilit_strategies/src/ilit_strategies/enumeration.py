"""Recipes by number: a search space seen as a mixed-radix number, so that no list of recipes is ever held."""

from __future__ import annotations

import math

from ilit.recipe import FLOAT32, Recipe
from ilit.space import SearchSpace


def recipe_at(space: SearchSpace, number: int) -> Recipe:
    """Return recipe ``number`` of 0..``space.size() - 1``, as counting would reach it.

    The digits are, least significant first: the last op, ... the first op, the transforms (last first), the
    calibration size. Digit 0 is the preferred candidate, so recipe 0 is preferred throughout. Memory and time are
    those of one recipe, whatever the size.

    Raises:
        IndexError: there is no such number.
    """
    if not 0 <= number < space.size():
        raise IndexError(f"recipe number {number} is not in 0..{space.size() - 1}")
    ops, transforms = {}, {}
    for name in reversed(list(space.ops)):
        number, digit = divmod(number, len(space.ops[name].candidates))
        ops[name] = space.ops[name].candidates[digit]
    for name in reversed(list(space.transforms)):
        number, digit = divmod(number, len(space.transforms[name]))
        transforms[name] = space.transforms[name][digit]
    return space.recipe(ops, str(space.calibrations[number]) if space.calibrations else "", transforms)


def is_float_model(recipe: Recipe) -> bool:
    """Return whether every op is in float32, which is the baseline and needs no trial."""
    return all(config == FLOAT32 for config in recipe.ops.values())


def worth_trying(space: SearchSpace) -> int:
    """Return the exact number of recipes that are not the float32 model."""
    floats = all(FLOAT32 in op.candidates for op in space.ops.values())
    if not floats:
        return space.size()
    per_op = math.prod(len(op.candidates) for op in space.ops.values())
    return space.size() - space.size() // per_op
