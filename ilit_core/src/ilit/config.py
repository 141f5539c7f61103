"""YAML, a mapping or keyword arguments -> one frozen ``Config``; every error with its line and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ilit.criterion import Criterion
from ilit.space import CalibrationSize


@dataclass(frozen=True)
class TensorLimits:
    """What the user allows for weights or activations; an empty tuple says nothing, so the defaults choose."""

    dtype: tuple[str, ...] = ()
    scheme: tuple[str, ...] = ()
    granularity: tuple[str, ...] = ()
    algorithm: tuple[str, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True)
class OpLimits:
    """What the user allows for the ops that ``pattern`` matches, or for the whole model where it is empty."""

    pattern: str = ""
    dtype: tuple[str, ...] = ()
    approach: tuple[str, ...] = ()
    weight: TensorLimits = TensorLimits()
    activation: TensorLimits = TensorLimits()
    where: str = ""


@dataclass(frozen=True)
class Named:
    """A part looked up by name among plugins, with its options. ``where`` is the place in the file, for errors."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True)
class Config:
    """One run's configuration, resolved: every default filled in.

    Attributes:
        framework: the adapter's name, empty where the model decides.
        calibrations: amounts of calibration data, each a candidate.
        model_limits: limits for the whole model.
        op_limits: limits by op name or glob, in the file's order.
        metric: None where the configuration names none.
        criterion: its direction is None's stand-in True until the metric is known, unless ``higher_is_better`` was given.
        higher_is_better: as given, or None where the metric decides.
        stop: ``met`` ends at the first accepted recipe, ``budget`` at the timeout or the strategy's end.
    """

    framework: str = ""
    device: str = "cpu"
    calibrations: tuple[CalibrationSize, ...] = (CalibrationSize(128, "rows"),)
    model_limits: OpLimits = OpLimits()
    op_limits: tuple[OpLimits, ...] = ()
    metric: Named | None = None
    criterion: Criterion = Criterion()
    higher_is_better: bool | None = None
    strategy: Named = Named("basic")
    objective: Named = Named("performance")
    executor: Named = Named("serial")
    timeout: float = 0.0
    stop: Literal["met", "budget"] = "met"
    max_trials: int = 100
    random_seed: int = 9527
    run_folder: Path = Path("./ilit_runs")
    run_key: str = ""
    threads: int | None = None
    source: str = ""
