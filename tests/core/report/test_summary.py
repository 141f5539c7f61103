"""A result has one form: each figure one name, wherever it is printed and whatever it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ilit import Trial, TuneResult
from ilit.adapter import Cpu, Measurement
from ilit.cli import main
from ilit.evidence.record import Evidence
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.report.summary import (
    figures,
    summary_of_result,
    summary_of_run,
    summary_to_json,
    trial_to_json,
    with_chosen,
)
from ilit.report.verdict import sentence
from ilit.result import TrialRecord
from ilit.run.records import Finished, Header
from ilit.run.state import Run, open_run
from ilit.testing import fake_data, fake_model
from ilit.tuner import Tuner

DATA = Path(__file__).parents[2] / "data"
INT8 = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))
HEADER = Header(
    "2026-11-23T21:27:05", "fake", {"ilit": "0.1.0"}, Cpu("a CPU", "avx2", "A", 2), 9527, {}, "f1",
    "1 % relative of 0.9042: at least 0.8952", 0.9042, 0.895158, True, "basic", "performance", 100, 2, 27,
)  # fmt: skip
FOUND = Evidence(1725, 12, 15, 0.7011, 0.00174, 0.00866, 0.95, 0.01, "tango", 2)
PRUNED = TrialRecord(1, Recipe({"a": INT8, "b": INT8}), "pruned", 0.8612, why="all in INT8", rows=512)
PASSED = TrialRecord(
    2, Recipe({"a": INT8, "b": FLOAT32}), "passed", 0.9, seconds=1.5, cost=Measurement(0.01, 1500, 1),
    float_cost=Measurement(0.02, 6000, 1), int8_kernels=1, rows=1725, evidence=FOUND,
)  # fmt: skip
SLOW = replace(PASSED, number=3, objection="performance: slower", evidence=None)
FAILED = TrialRecord(4, PRUNED.recipe, "failed", reason="engine: no")
ENDED = Finished("met after 4 trials", True, best=2, closest=2, seconds=12.5)
RUN = Run(Path("run"), HEADER, (PRUNED, PASSED, SLOW, FAILED), finished=ENDED, state="finished")


def names(part: Any) -> set[str]:
    """Return the names of all figures of a summary, those of its parts included."""
    found = set()
    for field in fields(part):
        value = getattr(part, field.name)
        found.add(field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if is_dataclass(one) and not isinstance(one, (Evidence, Cpu, Recipe)):
                found |= names(one)
    return found


@pytest.fixture
def tuned(tuner: Callable[..., Tuner]) -> TuneResult:
    """Return the result of a run with a pruned trial, two that passed and a front."""

    def search(space: Any, baseline: Any) -> Any:
        yield Trial(space.recipe({}), "all in INT8")
        yield Trial(space.recipe({"layer2": FLOAT32}))
        yield Trial(space.recipe({"layer2": FLOAT32, "layer3": FLOAT32}))

    model = fake_model(sensitive=("layer2",))
    made = tuner(search, metric="fake_accuracy", stop="budget")
    made.tune(model, fake_data(model, 64, seed=2), eval_dataloader=fake_data(model))
    assert made.result is not None
    return made.result


def test_folder_and_result_tell_the_same(tuned: TuneResult) -> None:
    """A summary made from the run folder is that made from the tuner's result."""
    assert summary_of_run(open_run(tuned.folder)) == summary_of_result(tuned)


def test_each_figure_has_one_name(
    tuned: TuneResult, installed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a JSON says beside what the run is called and made with is a summary's field by name."""
    installed()
    known = names(summary_of_result(tuned))
    card = json.loads((tuned.folder / "best" / "result.json").read_text())
    front = json.loads((tuned.folder / "front.json").read_text())
    assert main(["show", str(tuned.folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert card.keys() - known == {"version", "created", "versions"}
    assert shown.keys() - known == {
        "state", "torn", "strategy", "objective", "recipes", "versions", "best", "closest",
    }  # fmt: skip
    for entry in (*front["members"], *shown["front"], *shown["trials"]):
        assert entry.keys() <= known
    for told in (card, shown, shown["trials"][1], shown["front"][0]):
        assert (told["latency_int8_ms"], told["size_fp32_bytes"]) == (0.017408, 3328)


def test_figures_are_gathered() -> None:
    """The chosen trial's, the search's and what was asked, as plain values with the units of their names."""
    told = figures(summary_of_run(RUN))
    assert told.pop("recipe") == PASSED.recipe.to_json()
    assert told == {
        "metric": "f1", "baseline": 0.9042, "target": 0.895158, "accuracy": 0.9, "passed": True,
        "drop": 0.00174, "drop_bound": 0.00866, "confidence": 0.95, "gained": 12, "lost": 15, "rows": 1725,
        "verdict": sentence(FOUND), "evaluations": 4, "probes": 0, "seconds": 12.5, "ops_total": 2, "ops_float": ("b",),
        "latency_fp32_ms": 20, "latency_int8_ms": 10, "speedup": 2, "size_fp32_bytes": 6000, "size_int8_bytes": 1500,
        "int8_kernels": 1, "cpu": {"model": "a CPU", "isa": "avx2", "int8_class": "A", "threads": 2},
    }  # fmt: skip


MISSED = Finished("nothing left", False, closest=1)
DROPS = {
    "evidence": (RUN, [0.00174, 0.00866, 0.95, 12, 15, 1725, sentence(FOUND)]),
    "no predictions": (replace(RUN, trials=(replace(PASSED, evidence=None),)), [None] * 5 + [1725, None]),
    "an eval_func": (replace(RUN, trials=(replace(PASSED, evidence=None, rows=0),)), [None] * 7),
    "stopped early": (replace(RUN, trials=(PRUNED,), finished=MISSED), [None] * 5 + [512, None]),
    "no trial": (replace(RUN, trials=(), finished=Finished("no recipe", False)), [None] * 7),
    "the run goes on": (replace(RUN, finished=None), [None] * 7),
}


@pytest.mark.parametrize(("run", "values"), DROPS.values(), ids=DROPS)
def test_programs_get_the_same_keys_always(run: Run, values: list[object]) -> None:
    """What is not known is None, never left out and never zero."""
    told = summary_to_json(summary_of_run(run))
    assert told.keys() == summary_to_json(summary_of_run(RUN)).keys()
    assert [told[key] for key in ("drop", "drop_bound", "confidence", "gained", "lost", "rows", "verdict")] == values


def test_a_bound_is_no_accuracy() -> None:
    """What a pruned trial could still have reached has a name of its own, and its words say how far it came."""
    pruned, passed, _, failed = summary_of_run(RUN).trials
    assert (pruned.accuracy, pruned.accuracy_bound, passed.accuracy, passed.accuracy_bound) == (None, 0.8612, 0.9, None)
    assert [trial.reached for trial in (pruned, passed, failed)] == [
        "at most 0.8612 (pruned after 512 of 1725 rows)",
        "0.9000",
        "",
    ]
    lower = summary_of_run(replace(RUN, header=replace(HEADER, higher_is_better=False)))
    assert lower.trials[0].score == "at least 0.8612"


def test_what_speaks_against_a_trial_is_told() -> None:
    """A failure and the objective's objection are one field; neither is accepted."""
    told = [trial_to_json(trial) for trial in summary_of_run(RUN).trials]
    assert [trial["objection"] for trial in told] == [None, None, "performance: slower", "engine: no"]
    assert [trial["accepted"] for trial in told] == [False, True, False, False]


def test_another_saved_model_has_its_own_figures() -> None:
    """The run's stay, the trial's are those of the number given."""
    summary = summary_of_run(RUN)
    other = with_chosen(summary, 3)
    assert (other.passed, other.chosen.trial, other.chosen.objection) == (False, 3, "performance: slower")
    assert (other.effort, other.asked) == (summary.effort, summary.asked)


def test_a_run_of_version_1_has_a_summary() -> None:
    """The run in tests/data was written under the older names."""
    summary = summary_of_run(open_run(DATA / "run-v1"))
    assert (summary.passed, summary.chosen.trial, summary.chosen.cost.size_int8_bytes) == (True, 1, 1040)
    assert (summary.chosen.drop.gained, summary.chosen.drop.lost, summary.front[0].trial) == (1, 50, 1)
