"""Strategy ``ends_in_float``: INT8 everywhere, else with the ops at the model's ends in float32."""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ilit.recipe import FLOAT32
from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial


class EndsOptions(BaseModel):
    """Options of ``ends_in_float``.

    Attributes:
        ends: how many ops count as an end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ends: int = Field(1, ge=1)


class EndsInFloat:
    """Leave the model's ends in float32 where INT8 throughout misses.

    The op next to the input sees raw data and the op next to the output decides the answer, so these are the usual
    suspects, and a rule this simple needs no probes. Evaluations at worst: 4.
    """

    name: ClassVar[str] = "ends_in_float"
    Options: ClassVar[type[BaseModel]] = EndsOptions

    def __init__(self, options: EndsOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield the preferred recipe, then it with the last, the first and both ends in float32."""
        base = space.recipe({})
        able = [name for name in base.quantized_ops if FLOAT32 in space.ops[name].candidates]
        first, last = able[: self.options.ends], able[-self.options.ends :]
        plans = {"INT8 throughout": [], "last in float": last, "first in float": first, "both in float": first + last}
        tried = set()
        for why, names in plans.items():
            recipe = base.in_float(names)
            if recipe.quantized_ops and recipe.digest not in tried:
                tried.add(recipe.digest)
                outcome = yield Trial(recipe, why)
                if outcome.accepted:
                    return
