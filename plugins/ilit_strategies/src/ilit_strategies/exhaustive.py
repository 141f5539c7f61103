"""Strategy ``exhaustive``: every recipe of the space, in counting order."""

from __future__ import annotations

import logging
import random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial
from ilit_strategies.enumeration import is_float_model, recipe_at, worth_trying

log = logging.getLogger("ilit.strategies")


class ExhaustiveOptions(BaseModel):
    """``exhaustive`` has no options; ``tuning.max_trials`` and ``tuning.timeout`` limit it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Exhaustive:
    """Try every recipe, one evaluation each, the preferred candidates first.

    Evaluations at worst: all of ``space.size()`` less the all-float recipes, which the first request and the log
    state as an exact number; no probes. Recipes are made one at a time by counting (``enumeration.recipe_at``), so the
    first trial comes at once and memory stays flat for any size of space.
    """

    name: ClassVar[str] = "exhaustive"
    Options: ClassVar[type[BaseModel]] = ExhaustiveOptions

    def __init__(self, options: ExhaustiveOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield one ``Trial`` per recipe in counting order, whatever the outcomes."""
        total = worth_trying(space)
        log.info("exhaustive: %d recipes to try (float32 left out)", total)
        done = 0
        number = 0
        while done < total:
            recipe = recipe_at(space, number)
            number += 1
            if not is_float_model(recipe):
                done += 1
                yield Trial(recipe, f"recipe {done} of {total}")
