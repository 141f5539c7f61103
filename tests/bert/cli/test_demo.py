"""Promises of ``ilit bert demo``: the checkpoint is tuned as any other, and the planted ops are named."""

from __future__ import annotations

import json

from ilit.cli import main
from ilit_bert.cli.demo import demo as demo_command
from ilit_bert.demo.folder import Demo


def test_demo_tunes_and_says_what_it_planted(planted, capsys, tmp_path, monkeypatch):
    """The demo's checkpoint is tuned by the same path, and the planted ops are named as found."""
    folder, names = planted
    made = Demo(folder / "checkpoint", folder / "data", names, 2.0**20, 1, 60)
    monkeypatch.setattr("ilit_bert.demo.folder.make", lambda *_, on_step, **__: on_step(1, 0.5) or made)

    assert main(["bert", "demo", "--output", "demo"]) == 0
    printed = capsys.readouterr()
    assert f"planted   {', '.join(names)}: repaired by the search, 2 in float32 and 0 in INT8" in printed.out
    assert "planted outliers" in printed.err

    assert main(["bert", "demo", "--output", "demo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["planted"], told["found"], told["evaluations"] > 2) == (list(names), True, True)
    assert (tmp_path / "demo" / "tuned" / "recipe.json").is_file()


def test_demo_default_steps_are_those_of_the_work():
    """The command's default, written out so that torch stays unloaded, is the module's."""
    from ilit_bert.demo import folder

    assert demo_command.__defaults__[1] == folder.STEPS
