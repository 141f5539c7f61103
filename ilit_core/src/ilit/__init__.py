"""INT8 tuning within an accuracy criterion.

The names in ``__all__`` are public, here and in every module or folder directly below that has one. What does work is
imported when first used, so that ``import ilit`` is quick and never imports a framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ilit.adapter import (
    Adapter,
    BlanksModel,
    Calibration,
    ChecksSavable,
    Cpu,
    DescribesAll,
    DigestsModel,
    FindsFirstDifference,
    KernelCalls,
    KernelProfile,
    Measurement,
    ProfilesKernels,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.criterion import Criterion
from ilit.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    EvaluationError,
    IlitError,
    IlitWarning,
    LoweringError,
    MissedError,
    ModelError,
    PluginError,
    RunError,
    UnsupportedError,
)
from ilit.evidence import Evidence
from ilit.executor import Executor
from ilit.hookspecs import hookimpl
from ilit.metric import Metric, PairedMetric
from ilit.objective import Objective
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.result import TrialRecord, TuneResult
from ilit.space import CalibrationSize, Op, SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Probe,
    ProbeOutcome,
    Request,
    Requests,
    Strategy,
    Trial,
    TrialOutcome,
)

if TYPE_CHECKING:
    from ilit import testing
    from ilit.artefact import load
    from ilit.config import Config, read_config
    from ilit.plugins.loaders import wrap_dataloader
    from ilit.run import FrontMember, Run, open_run
    from ilit.tuner import Tuner

__all__ = [
    "FLOAT32",
    "Adapter",
    "ArtefactError",
    "Baseline",
    "BlanksModel",
    "Calibration",
    "CalibrationSize",
    "ChecksSavable",
    "Config",
    "ConfigError",
    "Cpu",
    "Criterion",
    "DataError",
    "DescribesAll",
    "DigestsModel",
    "DistanceOutcome",
    "DistanceProbe",
    "EvaluationError",
    "Evidence",
    "Executor",
    "FindsFirstDifference",
    "FrontMember",
    "IlitError",
    "IlitWarning",
    "KernelCalls",
    "KernelProfile",
    "LoweringError",
    "Measurement",
    "Metric",
    "MissedError",
    "ModelError",
    "Objective",
    "Op",
    "OpConfig",
    "OpErrorOutcome",
    "OpErrorProbe",
    "OpSpeedOutcome",
    "OpSpeedProbe",
    "Outcome",
    "PairedMetric",
    "PluginError",
    "Probe",
    "ProbeOutcome",
    "ProfilesKernels",
    "QuantSpec",
    "Recipe",
    "RegroupsRows",
    "Request",
    "Requests",
    "Run",
    "RunError",
    "RunsOwnModel",
    "SearchSpace",
    "SetsThreads",
    "Strategy",
    "TimesOps",
    "Trial",
    "TrialOutcome",
    "TrialRecord",
    "TuneResult",
    "Tuner",
    "UnsupportedError",
    "hookimpl",
    "load",
    "open_run",
    "read_config",
    "testing",
    "wrap_dataloader",
]

_LATER = {
    "Config": "ilit.config",
    "FrontMember": "ilit.run",
    "Run": "ilit.run",
    "Tuner": "ilit.tuner",
    "load": "ilit.artefact",
    "open_run": "ilit.run",
    "read_config": "ilit.config",
    "wrap_dataloader": "ilit.plugins.loaders",
}


def __getattr__(name: str) -> Any:
    """Import what ``name`` needs when it is first used."""
    if name == "testing":
        return importlib.import_module("ilit.testing")
    if name not in _LATER:
        raise AttributeError(f"module 'ilit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
