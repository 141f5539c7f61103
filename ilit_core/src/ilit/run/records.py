"""The records of a journal: what is known before the search, and what each request and the end gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ilit.adapter import Cpu
from ilit.result import TrialRecord
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome, ProbeOutcome

ProbeKind = Literal["distance", "op_errors", "op_speeds"]


@dataclass(frozen=True)
class Header:
    """What decides a run's figures, known before its first request.

    Attributes:
        created: local time, ISO 8601.
        adapter: the framework adapter's name.
        versions: ilit's, Python's and the adapter's versions.
        cpu: what it runs on.
        seed: ``tuning.random_seed``.
        digests: SHA-256 of ``config``, ``calibration`` and, where the adapter gives one, ``model``.
        metric: the metric's name, ``eval_func`` where a function scores.
        criterion: the target in the metric's own terms, one sentence.
        baseline: the float32 model's accuracy.
        target: the accuracy that passes.
        higher_is_better: the metric's direction.
        strategy: its name.
        objective: its name.
        max_trials: the limit.
        ops: quantizable ops in the space.
        recipes: recipes in the space, the exact number.
        left_in_float: module path -> why, of modules that could be quantized by their kind and are no ops; none in a
            journal of an ilit that did not tell.
    """

    created: str
    adapter: str
    versions: Mapping[str, str]
    cpu: Cpu
    seed: int
    digests: Mapping[str, str]
    metric: str
    criterion: str
    baseline: float
    target: float
    higher_is_better: bool
    strategy: str
    objective: str
    max_trials: int
    ops: int
    recipes: int
    left_in_float: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", MappingProxyType(dict(self.versions)))
        object.__setattr__(self, "digests", MappingProxyType(dict(self.digests)))
        object.__setattr__(self, "left_in_float", MappingProxyType(dict(self.left_in_float)))


@dataclass(frozen=True)
class Started:
    """Trial ``trial``, the search's request number ``request``, is about to be lowered."""

    request: int
    trial: int
    digest: str


@dataclass(frozen=True)
class Tried:
    """What request number ``request``, a trial, gave."""

    request: int
    record: TrialRecord


@dataclass(frozen=True)
class Probed:
    """What request number ``request``, a probe of the recipe with this digest, gave."""

    request: int
    digest: str
    outcome: ProbeOutcome
    why: str = ""

    @property
    def kind(self) -> ProbeKind:
        """The kind of figures asked for; follows from the outcome."""
        match self.outcome:
            case DistanceOutcome():
                return "distance"
            case OpErrorOutcome():
                return "op_errors"
            case OpSpeedOutcome():
                return "op_speeds"


@dataclass(frozen=True)
class Finished:
    """The search has ended by itself or by Ctrl-C; ``met`` is the result's, ``best`` and ``closest`` trial numbers."""

    reason: str
    met: bool
    best: int | None = None
    closest: int | None = None
    interrupted: bool = False
    seconds: float = 0.0


Entry = Started | Tried | Probed | Finished


@dataclass(frozen=True)
class Journal:
    """A journal as read. ``torn`` is True where the last line was cut off and dropped."""

    header: Header
    entries: tuple[Entry, ...] = field(default=())
    torn: bool = False
