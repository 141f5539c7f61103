"""``ilit show``: a run from its folder alone."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.adapter import Cpu, KernelCalls, KernelProfile, Measurement
from ilit.cli import main
from ilit.evidence.record import Evidence
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.report.receipt import Receipt, write_receipt
from ilit.report.verdict import sentence
from ilit.result import TrialRecord
from ilit.run.front import members, write_front
from ilit.run.journal import JournalWriter
from ilit.run.records import Finished, Header, Probed, Tried
from ilit.run.state import open_run
from ilit.strategy import DistanceOutcome

INT8 = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))
HEADER = Header(
    created="2026-01-02T03:04:05",
    adapter="fake",
    versions={"ilit": "0.1.0"},
    cpu=Cpu("a CPU", "avx2", "A", 2),
    seed=1,
    digests={},
    metric="f1",
    criterion="1 % relative of 0.9000: at least 0.8910",
    baseline=0.9,
    target=0.891,
    higher_is_better=True,
    strategy="basic",
    objective="performance",
    max_trials=100,
    ops=2,
    recipes=4,
)
TRIALS = (
    TrialRecord(1, Recipe({"a": INT8, "b": INT8}), "missed", 0.85, why="all in INT8", seconds=2.0, int8_kernels=2),
    TrialRecord(2, Recipe({"a": INT8, "b": FLOAT32}), "failed", reason="the engine has no kernel", seconds=0.1),
    TrialRecord(
        3,
        Recipe({"a": FLOAT32, "b": INT8}),
        "passed",
        0.895,
        seconds=2.5,
        cost=Measurement(0.5, 10, 10),
        float_cost=Measurement(1.0, 20, 10),
        int8_kernels=1,
    ),
)


@pytest.fixture(autouse=True)
def _here(installed, tmp_path, monkeypatch):
    """Work in an empty folder, with no plugin installed and room for the table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    installed()


EVIDENCE = Evidence(1725, 12, 15, 0.701, 0.00174, 0.00866, 0.95, 0.01, "tango", 1)


def run_folder(*, trials: tuple[TrialRecord, ...] = TRIALS, finished: Finished | None, header: Header = HEADER) -> Path:
    """Write a run folder by the journal's own writer."""
    folder = Path("run")
    folder.mkdir()
    writer = JournalWriter(folder / "journal.jsonl", header)
    writer.append(Probed(0, trials[0].recipe.digest, DistanceOutcome(0.1)))
    for number, trial in enumerate(trials, start=1):
        writer.append(Tried(number, trial))
    if finished:
        writer.append(finished)
    writer.close()
    return folder


def test_a_run_that_met_its_target_is_shown(capsys):
    """The table has a line a trial, and below stand reasons, target, end and the ops that stay in float."""
    folder = run_folder(finished=Finished("met by trial 3", True, best=3, closest=3))
    (folder / "best").mkdir()
    assert main(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    table, below = shown[: shown.rindex("┘") + 2], shown[shown.rindex("┘") + 2 :]
    assert [line.split()[1:4] for line in table.splitlines() if line.startswith("│")] == [
        ["1", "│", "missed"],
        ["2", "│", "failed"],
        ["3", "best", "│"],
    ]
    assert "2.00" in table
    assert below.splitlines() == [
        "trial 1: all in INT8",
        "trial 2: the engine has no kernel; 1 of 2 ops in float",
        "trial 3: 1 of 2 ops in float",
        "f1: 1 % relative of 0.9000: at least 0.8910",
        "strategy basic, objective performance, 1 probes; 4 recipes",
        "CPU: a CPU, avx2 (class A), 2 threads",
        "finished: met by trial 3",
        "best: trial 3, f1 0.8950, saved in run/best",
        "2 ops, in float: a",
    ]


def test_the_kernels_that_ran_are_shown(capsys):
    """By the receipt beside the model; a model without one says nothing of them."""
    folder = run_folder(finished=Finished("the end", True, best=3, closest=3))
    (folder / "best").mkdir()
    write_receipt(folder / "best", Receipt(KernelProfile((KernelCalls("mul", ("b",), 1, 0.5, 8),), ()), 1))
    assert main(["show", str(folder)]) == 0
    assert "1 INT8 kernel ran in one batch, 100 % of its time" in capsys.readouterr().out
    (folder / "best" / "receipt.json").unlink()
    assert main(["show", str(folder)]) == 0
    assert "INT8 kernel" not in capsys.readouterr().out


def test_a_run_that_missed_shows_its_closest(capsys):
    """Where nothing passed, the nearest recipe is named and told to be all INT8."""
    folder = run_folder(trials=TRIALS[:2], finished=Finished("nothing left", False, closest=1))
    assert main(["show", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "closest: trial 1, f1 0.8500",
        "2 ops, all of them in INT8",
    ]


def test_a_run_that_was_killed_can_be_looked_at(capsys):
    """Without a last record the trials are there, and so is the fact that it has no result."""
    assert main(["show", str(run_folder(finished=None))]) == 0
    assert "interrupted: the journal ends without a result" in capsys.readouterr().out


def test_json_has_all_trials_and_the_ending(capsys):
    """A script finds target, numbers of best and closest, and every trial with its float ops."""
    assert main(["show", str(run_folder(finished=Finished("met", True, best=3, closest=3))), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["passed"], data["best"], data["target"], data["probes"]) == (True, 3, 0.891, 1)
    assert (data["latency_int8_ms"], data["size_fp32_bytes"], data["evaluations"]) == (500, 20, 3)
    assert [(trial["trial"], trial["status"], trial["accuracy"], trial["ops_float"]) for trial in data["trials"]] == [
        (1, "missed", 0.85, []),
        (2, "failed", None, ["b"]),
        (3, "passed", 0.895, ["a"]),
    ]
    assert data["trials"][1]["objection"] == "the engine has no kernel"


def test_json_of_a_run_that_was_killed_has_the_same_keys(capsys):
    """What is not known yet is null."""
    assert main(["show", str(run_folder(finished=Finished("met", True, best=3, closest=3))), "--json"]) == 0
    ended = json.loads(capsys.readouterr().out)
    Path("run").rename("ended")
    assert main(["show", str(run_folder(finished=None)), "--json"]) == 0
    killed = json.loads(capsys.readouterr().out)
    assert killed.keys() == ended.keys()
    unknown = ("passed", "reason", "best", "accuracy", "drop", "speedup", "seconds", "trial")
    assert [killed[key] for key in unknown] == [None] * len(unknown)


def test_what_stays_in_float_is_shown(capsys):
    """Each module with its reason, for programs too."""
    header = replace(HEADER, left_in_float={"c": "its forward was replaced"})
    run_folder(finished=Finished("met", True, best=3, closest=3), header=header)
    assert main(["show", "run"]) == 0
    assert capsys.readouterr().out.endswith("2 ops, in float: a\nc stays in float: its forward was replaced\n")
    assert main(["show", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_in_float"] == {"c": "its forward was replaced"}


def test_what_is_proven_is_shown(monkeypatch, capsys):
    """The sentence stands below the recipe the run ended with, the drop beside its score; a bound is told as one."""
    folder = run_folder(finished=Finished("met", True, best=3, closest=3))
    opened = open_run(folder)
    trials = (replace(TRIALS[0], status="pruned", rows=512), TRIALS[1], replace(TRIALS[2], evidence=EVIDENCE))
    # ilit.cli has a function of the module's name, so the module is found by sys.modules alone.
    monkeypatch.setattr(sys.modules["ilit.cli.show"], "open_run", lambda _: replace(opened, trials=trials))
    assert main(["show", "run"]) == 0
    shown = capsys.readouterr().out
    assert f"best: trial 3, f1 0.8950\n{sentence(EVIDENCE)}\n2 ops, in float: a\n" in shown
    assert "0.18 % (0.87 %)" in shown
    assert "at most 0.8500" in shown
    assert "pruned after 512 rows" in shown


def test_the_front_is_shown(capsys):
    """The members by what they keep and cost; programs get all figures, and the recipe by its digest."""
    folder = run_folder(finished=Finished("met", True, best=3, closest=3))
    write_front(folder, members([TRIALS[2], replace(TRIALS[2], number=4, accuracy=0.899)]))
    assert main(["show", str(folder)]) == 0
    assert "none of these beats another" in capsys.readouterr().out
    assert main(["show", str(folder), "--json"]) == 0
    front = json.loads(capsys.readouterr().out)["front"]
    assert [(member["trial"], member["relative_latency"], member["ops_float"]) for member in front] == [
        (3, 0.5, ["a"]),
        (4, 0.5, ["a"]),
    ]
    assert front[0]["digest"] == TRIALS[2].recipe.digest
    assert "recipe" not in front[0]


def test_an_objection_is_shown_where_a_failure_says_its_reason(capsys):
    """People read it in the same place; programs under the same key, null where there is none."""
    run_folder(
        trials=(*TRIALS[:2], replace(TRIALS[2], objection="performance: slower")),
        finished=Finished("nothing left", False, closest=3),
    )
    assert main(["show", "run"]) == 0
    assert "performance: slower" in capsys.readouterr().out
    assert main(["show", "run", "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["objection"] for trial in trials] == [None, "the engine has no kernel", "performance: slower"]


def test_a_folder_that_is_no_run_is_told(capsys):
    """A mistake in the path is one line and exit code 2."""
    assert main(["show", "nope"]) == 2
    assert capsys.readouterr().err.startswith("error: nope: no such run folder")
