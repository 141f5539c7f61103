"""Every hook of ilit, by phase. A plugin is a module or object with functions of these names, marked ``@hookimpl``.

Hooks discover and observe; data moves by plain calls. A hook that gives nothing may be left out or return None.
"""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring; plugins bring the bodies.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

    from ilit.adapter import Adapter
    from ilit.executor import Executor
    from ilit.metric import Metric
    from ilit.objective import Objective
    from ilit.result import TrialRecord, TuneResult
    from ilit.run.state import Run
    from ilit.space import SearchSpace
    from ilit.strategy import Strategy

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("ilit")
hookimpl = pluggy.HookimplMarker("ilit")


# --- What a plugin offers, by name -------------------------------------------------------------------------------


@hookspec
def ilit_adapters() -> list[type[Adapter]]:
    """Return the framework adapters this plugin offers, as classes with a ``name``.

    Called when plugins are listed and when a run selects its adapter. Every plugin's answer is used; a name that
    another plugin has as well is refused with both named.
    """


@hookspec
def ilit_strategies() -> list[type[Strategy]]:
    """Return the tuning strategies this plugin offers, as classes with a ``name`` and an ``Options`` model."""


@hookspec
def ilit_metrics() -> list[type[Metric]]:
    """Return the metrics this plugin offers, as classes with a ``name`` and ``higher_is_better``."""


@hookspec
def ilit_dataloaders() -> list[Any]:
    """Return the loader wrappers this plugin offers: callables ``wrap(loader, model)`` with a ``name``."""


@hookspec
def ilit_objectives() -> list[Objective]:
    """Return the objectives this plugin offers, as objects with a ``name``."""


@hookspec
def ilit_executors() -> list[type[Executor]]:
    """Return the executors this plugin offers, as classes with a ``name``."""


# --- Before a search ---------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def ilit_select_adapter(model: Any) -> str | None:
    """Return the name of the adapter for ``model``, or None where it is not yours. The first answer counts.

    Called only where the configuration names no framework.
    """


@hookspec(firstresult=True)
def ilit_wrap_dataloader(loader: Any, model: Any) -> Any | None:
    """Return ``loader`` wrapped so that its batches fit ``model``, or None where it is not yours.

    Called once for each loader given to ``Tuner.tune``. The first answer counts; without one the loader is used as it
    is. The wrapped loader must be iterable again and again, and must not iterate the original before it is iterated
    itself.
    """


@hookspec
def ilit_space_rules(space: SearchSpace, model: Any) -> SearchSpace | None:
    """Return a narrower space, or None. Called after ``Adapter.describe`` and before the user's limits.

    Rules only propose defaults: an op that the user's ``tuning.ops`` names keeps what that says. Answers are
    intersected; one that widens the space is refused with the plugin's name.
    """


@hookspec
def ilit_commands(app: typer.Typer) -> None:
    """Add commands to the ``ilit`` command line, such as ``app.add_typer(bert, name="bert")``.

    Called at every start of the command line: import nothing heavy here or at the top of the plugin's module.
    """


# --- Events of a run -----------------------------------------------------------------------------------------------


@hookspec
def ilit_run_started(run: Run) -> None:
    """Called once, after the baseline is known and before the first request. Whatever is returned is ignored."""


@hookspec
def ilit_trial_finished(run: Run, trial: TrialRecord) -> None:
    """Called after each trial is in the journal. An exception here is logged and never ends the run.

    Called again with another record of the same number where a pruned trial was evaluated to its end after the search,
    or judged on held-out rows.
    """


@hookspec
def ilit_run_finished(run: Run, result: TuneResult) -> None:
    """Called once, after the last artefact is written, also for a run that missed or was interrupted."""
