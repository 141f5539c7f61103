"""``ilit plugins``: what is installed, and what does not work."""

from __future__ import annotations

import json
from types import ModuleType

from ilit.cli import main
from ilit.hookspecs import hookimpl
from ilit.objective import OBJECTIVES, Objective


def offering(*names: str) -> ModuleType:
    """Return a plugin with objectives of these names."""
    module = ModuleType("offering")
    module.ilit_objectives = hookimpl(lambda: [Objective(name, "s", lambda cost: cost.seconds) for name in names])
    module.ilit_run_started = hookimpl(lambda run: None)
    return module


def test_the_json_tells_origin_parts_and_errors(installed, capsys):
    """Each plugin is one object; a broken one has its error and the tool works on."""
    installed(energy=offering("energy"), bad=ImportError("No module named 'rays'"))
    assert main(["plugins", "--json"]) == 0
    *_, energy, bad = json.loads(capsys.readouterr().out)["plugins"]
    assert energy == {
        "name": "energy",
        "distribution": "ilit-energy",
        "version": "1.0",
        "provides": {"objective": ["energy"]},
        "hooks": ["ilit_run_started"],
        "error": None,
        "clashes": [],
    }
    assert bad["error"] == "ImportError: No module named 'rays'"
    assert bad["provides"] == {}


def test_the_table_shows_errors_and_clashes(installed, capsys, monkeypatch):
    """A reader sees what is disabled, and which names two plugins share."""
    monkeypatch.setenv("COLUMNS", "200")
    installed(one=offering("energy"), two=offering("energy"), bad=ImportError("gone"))
    assert main(["plugins"]) == 0
    shown = capsys.readouterr().out
    assert "ilit-core" in shown
    assert f"objective: {', '.join(one.name for one in OBJECTIVES)}" in shown
    assert "disabled: ImportError: gone" in shown
    assert "objective 'energy' is offered by one (ilit-one 1.0) and two (ilit-two 1.0)" in shown
