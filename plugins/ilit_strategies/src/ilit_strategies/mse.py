"""Strategy ``mse``: each op's own output error decides which goes to float next."""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial
from ilit_strategies.fallback import described, float_changes, one_by_one
from ilit_strategies.probes import by_own_error


class MseOptions(BaseModel):
    """``mse`` has no options."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mse:
    """Try the preferred recipe, then put one op more into float32 per trial, largest output error first.

    The errors (mean squared, relative to the output's variance, each op fed its float32 input) come from one
    instrumented pass. Evaluations at worst: 1 + n for n ops that may be in float32; probes: 1. Choose ``basic``
    where evaluations are dear: it needs about log2 n.
    """

    name: ClassVar[str] = "mse"
    Options: ClassVar[type[BaseModel]] = MseOptions

    def __init__(self, options: MseOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield the preferred model-wise recipe, one per-op probe, then ever more ops in float until accepted."""
        base = next(space.model_wise(), None)
        if base is None or not base.quantized_ops:
            return
        outcome = yield Trial(base, "preferred everywhere")
        if outcome.accepted:
            return
        order = yield from by_own_error(base)
        for changes in one_by_one(base, float_changes(space, order)):
            outcome = yield Trial(base.with_ops(dict(changes)), f"fallback, {described(changes)}")
            if outcome.accepted:
                return
