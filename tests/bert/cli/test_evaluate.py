"""Promises of ``ilit bert evaluate``: one line for people, one object for programs, mistakes by exit code 2."""

from __future__ import annotations

import json
import re

from ilit.cli import main


def test_the_score_is_a_line(flags, capsys):
    """Task, metric, score and number of examples stand in one line on stdout."""
    assert main(["bert", "evaluate", *flags, "--eval-samples", "10"]) == 0
    assert re.fullmatch(r"SST-2: acc [01]\.\d{4} on 10 examples, \d+\.\d s\n", capsys.readouterr().out)


def test_the_score_is_an_object(flags, capsys):
    """JSON has the same figures by name."""
    assert main(["bert", "evaluate", *flags, "--eval-samples", "10", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert list(scored) == ["task", "metric", "accuracy", "examples", "seconds", "notes", "saturated"]
    assert (scored["task"], scored["metric"], scored["examples"]) == ("SST-2", "acc", 10)


def test_a_tuned_model_as_on_a_cpu_without_vnni(flags, capsys):
    """``--saturate`` scores the twin and says so in the same line; a float checkpoint has none."""
    assert main(["bert", "evaluate", *flags, "--saturate"]) == 2
    assert "was not lowered by ilit" in capsys.readouterr().err
    assert main(["bert", "tune", *flags, "--output", "tuned", "--config", "conf.yaml"]) == 0
    capsys.readouterr()
    tuned = ["bert", "evaluate", "--model", "tuned", *flags[2:], "--eval-samples", "10", "--saturate"]
    assert main(tuned) == 0
    line = r"SST-2: acc [01]\.\d{4} on 10 examples, \d+\.\d s; emulated: INT8 sums as on a CPU without VNNI.*\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert main([*tuned, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["saturated"] is True


def test_mistakes_are_exit_code_2(flags, capsys):
    """A metric that the task does not have is a mistake of the user's."""
    assert main(["bert", "evaluate", *flags, "--metric", "f1"]) == 2
    assert "SST-2 has no such metric" in capsys.readouterr().err
