"""When an accuracy is good enough, by the metric's own direction and sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ilit.errors import ConfigError

__all__ = ["Criterion"]


@dataclass(frozen=True)
class Criterion:
    """How much accuracy may be lost against the float32 model.

    Attributes:
        kind: ``relative`` to the size of the baseline, or ``absolute`` in the metric's own unit.
        tolerance: the loss allowed, 0 or more; ``0.01`` is 1 % where relative.
        higher_is_better: the metric's direction.
    """

    kind: str = "relative"
    tolerance: float = 0.01
    higher_is_better: bool = True

    def target(self, baseline: float) -> float:
        """Return the worst accuracy that still passes: ``baseline -/+ |baseline| * r``, or ``baseline -/+ a``.

        Raises:
            ConfigError: relative to a baseline of 0, which would allow no loss at all.
        """
        if self.kind == "relative" and baseline == 0:
            raise ConfigError(
                "tuning.accuracy_criterion.relative: the float32 model scores 0, so a relative loss has no meaning; "
                "use tuning.accuracy_criterion.absolute, or check the model and the evaluation data"
            )
        loss = abs(baseline) * self.tolerance if self.kind == "relative" else self.tolerance
        return baseline - loss if self.higher_is_better else baseline + loss

    def is_met(self, accuracy: float, baseline: float) -> bool:
        """Return whether ``accuracy`` passes; a NaN never does."""
        target = self.target(baseline)
        return accuracy >= target if self.higher_is_better else accuracy <= target

    def shortfall(self, accuracy: float, baseline: float) -> float:
        """Return the distance of ``accuracy`` from the target, in the metric's unit; 0 or less where it passes.

        NaN counts as infinitely far, so that ``min`` over shortfalls finds the closest recipe.
        """
        if math.isnan(accuracy):
            return math.inf
        gap = self.target(baseline) - accuracy
        return gap if self.higher_is_better else -gap

    def sentence(self, baseline: float) -> str:
        """Return the target in the metric's own terms: ``1 % relative of 0.9042: at least 0.8952``."""
        loss = f"{self.tolerance * 100:g} % relative of" if self.kind == "relative" else f"{self.tolerance:g} off"
        bound = "at least" if self.higher_is_better else "at most"
        return f"{loss} {baseline:.4f}: {bound} {self.target(baseline):.4f}"
