"""What a strategy is: a generator that asks for trials and probes and is sent their outcomes.

The laws, proven for any strategy by ``ilit.testing.StrategyContract``:

* the same outcomes and seed give the same requests: no clock, no I/O, no global random state;
* every requested recipe lies in the space;
* a ``failed`` outcome is survived;
* the generator ends, whatever the outcomes;
* closing it at any yield is clean.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from ilit.recipe import Recipe
from ilit.space import SearchSpace

__all__ = [
    "Baseline",
    "DistanceOutcome",
    "DistanceProbe",
    "OpErrorOutcome",
    "OpErrorProbe",
    "OpSpeedOutcome",
    "OpSpeedProbe",
    "Outcome",
    "Probe",
    "ProbeOutcome",
    "Request",
    "Requests",
    "Status",
    "Strategy",
    "Trial",
    "TrialOutcome",
]

Status = Literal["passed", "missed", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """Ask for one full evaluation of ``recipe``. ``why`` is a few words for log and progress line."""

    recipe: Recipe
    why: str = ""


@dataclass(frozen=True)
class DistanceProbe:
    """Ask how far the outputs of ``recipe`` are from float32's: a forward pass over a few calibration rows."""

    recipe: Recipe
    why: str = ""


@dataclass(frozen=True)
class OpErrorProbe:
    """Ask for the output error of every INT8 op by itself, fed its float32 input as seen in calibration.

    No pass of the model, so far cheaper than a ``DistanceProbe``.
    """

    recipe: Recipe
    why: str = ""


@dataclass(frozen=True)
class OpSpeedProbe:
    """Ask for the speed-up of every INT8 op by itself: one timing per distinct op shape."""

    recipe: Recipe
    why: str = ""


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial gave.

    Attributes:
        status: ``passed`` and ``missed`` were evaluated in full, ``pruned`` was stopped once it could no longer
            pass, ``failed`` raised.
        accuracy: the metric; where ``pruned`` the best it could still have reached; None where ``failed``.
        reason: the error in one line where it ``failed``, else empty.
        objection: why it ``passed`` and still cannot be ``best`` by the objective, else None.
        cost: the objective's cost as a share of the float32 model's; None where it was not measured.
    """

    status: Status
    accuracy: float | None = None
    reason: str = ""
    objection: str | None = None
    cost: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether it passed without objection, so that a search until the first hit may end."""
        return self.status == "passed" and self.objection is None


@dataclass(frozen=True)
class DistanceOutcome:
    """What a ``DistanceProbe`` gave.

    Attributes:
        distance: about the mean squared distance of the outputs to float32's, divided by the variance of float32's
            outputs; 0 is identical, around 1 and above nothing of the model is left. ``inf`` where the recipe failed.
        reason: the error in one line where the recipe failed, else empty.
    """

    distance: float
    reason: str = ""


@dataclass(frozen=True)
class OpErrorOutcome:
    """What an ``OpErrorProbe`` gave.

    Attributes:
        errors: op name -> a figure like ``DistanceOutcome.distance`` for that op's own output, comparable from op to
            op; empty where the recipe failed.
        reason: the error in one line where the recipe failed, else empty.
    """

    errors: Mapping[str, float]
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors", MappingProxyType(dict(self.errors)))


@dataclass(frozen=True)
class OpSpeedOutcome:
    """What an ``OpSpeedProbe`` gave.

    Attributes:
        speedups: op name -> seconds in float32 divided by seconds in INT8; empty where the recipe failed, and where
            the adapter cannot time ops.
        reason: the error in one line where the recipe failed, else empty.
    """

    speedups: Mapping[str, float]
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "speedups", MappingProxyType(dict(self.speedups)))


@dataclass(frozen=True)
class Baseline:
    """What the float model gave and what is asked of a recipe.

    Attributes:
        accuracy: the metric of the float32 model.
        target: the accuracy that passes.
        higher_is_better: the metric's direction.
        stop: ``met`` where the search ends at the first accepted recipe, ``budget`` where it goes on to better ones.
        objective: the name of what is to be as small as possible: ``performance``, ``modelsize``, ...
    """

    accuracy: float
    target: float
    higher_is_better: bool = True
    stop: Literal["met", "budget"] = "met"
    objective: str = "performance"


Probe = DistanceProbe | OpErrorProbe | OpSpeedProbe
"""Ask for cheap figures of a recipe, without an evaluation. Each kind has its own outcome."""
ProbeOutcome = DistanceOutcome | OpErrorOutcome | OpSpeedOutcome
"""What a probe gave: the outcome of its own kind, also where the recipe failed."""
Request = Trial | Probe
Outcome = TrialOutcome | ProbeOutcome
Requests = Generator[Request | tuple[Request, ...], Any, None]
"""What ``search`` returns. A generator has one type for all it is sent, so a yield is typed ``Any``: annotate the
name, as in ``found: OpErrorOutcome = yield OpErrorProbe(recipe)``, to have its use checked."""


@runtime_checkable
class Strategy(Protocol):
    """A way to search. Plugins register classes with this shape through ``ilit_strategies``.

    Attributes:
        name: the name used in ``tuning.strategy``.
        Options: a pydantic model of the options ``tuning.strategy`` may give beside the name. The class is constructed
            with one instance of it. Names it does not have are refused, whatever the model itself does with them;
            only ``extra="allow"`` takes others.
    """

    name: ClassVar[str]
    Options: ClassVar[type]

    def __init__(self, options: Any) -> None: ...

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:
        """Yield requests; a tuple of requests is answered by the tuple of their outcomes, in order.

        The search loop stops listening by closing the generator: at the first accepted trial when ``baseline.stop``
        is ``met``, and at any yield when the budget is spent.
        """
