"""What the suites try an adapter with: a model with its data, and the same described and calibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ilit.adapter import Adapter, Calibration
from ilit.metric import Metric
from ilit.recipe import Recipe
from ilit.space import SearchSpace


@dataclass(frozen=True)
class AdapterCase:
    """What an adapter is tried with.

    Attributes:
        adapter: the adapter, freshly constructed.
        model: a float model with at least one op to quantize, in train mode where the framework has modes.
        batches: at least two batches ``(input, label)``.
        metric: makes a metric that fits them.
        state: model -> everything of it that has to stay: parameters and buffers (as bytes), mode, hooks, config.
            Compared by ``==``.
        disturb: changes every parameter and buffer of a lowered model in place; None where models cannot be changed.
    """

    adapter: Adapter
    model: Any
    batches: Sequence[Any]
    metric: Callable[[], Metric]
    state: Callable[[Any], Any]
    disturb: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Prepared:
    """A case with its space described and its model calibrated, and the recipe the space prefers."""

    case: AdapterCase
    space: SearchSpace
    calibration: Calibration
    recipe: Recipe

    def lowered(self) -> Any:
        """Return the preferred recipe's model."""
        return self.case.adapter.lower(self.case.model, self.recipe, self.calibration)

    def outputs(self, model: Any) -> Any:
        """Return a model's outputs on the first batch."""
        return self.case.adapter.outputs(model, self.case.batches[0])


class OnlyIter:
    """A loader on which nothing but ``iter`` may be called."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        raise TypeError("only iter() may be called on a loader, not len()")

    def __bool__(self) -> bool:
        raise TypeError("only iter() may be called on a loader, not bool()")
