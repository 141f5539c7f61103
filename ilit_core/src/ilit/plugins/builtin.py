"""The parts ilit brings itself, registered through the same hooks as everyone else's."""

from __future__ import annotations

from ilit.executor import Executor, SerialExecutor
from ilit.hookspecs import hookimpl
from ilit.objective import OBJECTIVES, Objective
from ilit.report.console import ilit_run_finished, ilit_run_started, ilit_trial_finished

__all__ = [
    "ilit_executors",
    "ilit_objectives",
    "ilit_run_finished",
    "ilit_run_started",
    "ilit_trial_finished",
]


@hookimpl
def ilit_objectives() -> list[Objective]:
    """Offer forward time, memory of model and activations, and size of the model."""
    return list(OBJECTIVES)


@hookimpl
def ilit_executors() -> list[type[Executor]]:
    """Offer one request after the other."""
    return [SerialExecutor]
