"""What a configuration holds: ``Config`` and the frozen dataclasses of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ilit.criterion import Criterion
from ilit.recipe import Approach
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
    """What the user allows for the ops that ``pattern`` matches, or for the whole model where it is empty.

    ``dtype`` is ``int8``, ``bfloat16`` or ``float32`` of the op as a whole; what is empty says nothing, so that an op
    takes the model's limits there. ``where`` is the place in the file, for errors.
    """

    pattern: str = ""
    dtype: tuple[str, ...] = ()
    approach: tuple[Approach, ...] = ()
    weight: TensorLimits = TensorLimits()
    activation: TensorLimits = TensorLimits()
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class TransformLimits:
    """What the search may use beside plain quantization; None says nothing, so what the adapter offers is allowed.

    Attributes:
        smooth: strengths of SmoothQuant, each above 0 to 1, tried beside none at all; empty forbids it.
        bias_correction: False forbids it.
        per_token: False forbids activations with one scale per token.
        where: the place in the file, for errors.
    """

    smooth: tuple[float, ...] | None = None
    bias_correction: bool | None = None
    per_token: bool | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class PartSpec:
    """A part looked up by name among plugins, with its options.

    Attributes:
        name: as the plugin registered it.
        options: keyword arguments for it.
        value: the plain value or list in ``topk: 1``, its only positional argument; None where there is none.
        where: the place in the file, for errors.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Config:
    """One run's configuration, resolved: every default filled in. Two are equal when they ask for the same run.

    Attributes:
        framework: the adapter's name, empty where the model decides.
        calibrations: amounts of calibration data, each a candidate.
        model_limits: limits for the whole model.
        op_limits: limits by op name or glob, in the file's order.
        transforms: what the search may use beside plain quantization.
        metric: None where the configuration names none.
        criterion: its direction is True as a stand-in until the metric is known, unless ``higher_is_better`` was
            given.
        higher_is_better: as given, or None where the metric decides.
        timeout: seconds; 0 sets no limit.
        stop: ``met`` ends at the first accepted recipe, ``budget`` at the timeout or the strategy's end.
        threads: threads the kernels may use; None leaves them as they are.
        confidence: of the bound on the drop that the verdict states, above 0.5 and below 1.
        holdout: share of the evaluation rows that the search never sees and the verdict is taken on, 0 to below 1.
        source: the file as the user named it, or ``Tuner(...)``.
    """

    framework: str = ""
    device: str = "cpu"
    calibrations: tuple[CalibrationSize, ...] = (CalibrationSize(128, "rows"),)
    model_limits: OpLimits = OpLimits()
    op_limits: tuple[OpLimits, ...] = ()
    transforms: TransformLimits = TransformLimits()
    metric: PartSpec | None = None
    criterion: Criterion = field(default_factory=Criterion)
    higher_is_better: bool | None = None
    strategy: PartSpec = PartSpec("basic")
    objective: PartSpec = PartSpec("performance")
    executor: PartSpec = PartSpec("serial")
    timeout: float = 0.0
    stop: Literal["met", "budget"] = "met"
    max_trials: int = 100
    random_seed: int = 9527
    run_folder: Path = Path("./ilit_runs")
    run_key: str = ""
    threads: int | None = None
    confidence: float = 0.95
    holdout: float = 0.0
    source: str = field(default="", compare=False)
