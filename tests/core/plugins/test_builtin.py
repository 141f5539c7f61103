"""The parts that ilit brings itself come through the hooks that everybody has."""

from __future__ import annotations

from ilit import hookspecs
from ilit.executor import SerialExecutor
from ilit.objective import FOOTPRINT, MODEL_SIZE, OBJECTIVES, PERFORMANCE
from ilit.plugins import builtin, load_plugins
from ilit.plugins.validation import misuse, spec_names


def test_it_is_a_plugin_like_any_other() -> None:
    """Each of its hooks is specified and marked."""
    assert misuse(builtin, spec_names(hookspecs)) == ""


def test_its_parts_are_there_without_any_other_plugin() -> None:
    """The objectives and the serial executor, under the name of ilit's own distribution."""
    found = load_plugins([])

    assert {PERFORMANCE, FOOTPRINT, MODEL_SIZE} <= {found.objective(one.name) for one in OBJECTIVES}
    assert found.executor("serial") is SerialExecutor
    assert found.origin("executor", "serial").distribution == "ilit-core"


def test_progress_is_shown_through_the_events_of_a_run() -> None:
    """The console listens to the hooks that any observer has."""
    (listed,) = load_plugins([]).listing()

    assert listed.hooks == ("ilit_run_finished", "ilit_run_started", "ilit_trial_finished")
