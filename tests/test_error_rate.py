"""A short form of the simulation in bench: verdicts are wrong no more often than stated, selection included."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "bench" / "error_rate.py"
RUNS = 200


@pytest.fixture(scope="module")
def bench() -> Any:
    """The script, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location("bench_error_rate", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


SEARCHES = {
    "accuracy, first that passes": ("accuracy", 1725, 0.01, 0.016, "first"),
    "accuracy, best of five": ("accuracy", 1725, 0.01, 0.0, "best"),
    "accuracy on few rows, any of five": ("accuracy", 277, 0.05, 0.0, "any"),
    "accuracy on a holdout where rows only break": ("accuracy", 277, 0.02, 0.0, "holdout"),
    "f1, first that passes": ("f1", 1725, 0.01, 0.016, "first"),
    "f1 on a holdout of few rows": ("f1", 277, 0.05, 0.0, "holdout"),
    "mcc, best of five": ("mcc", 1725, 0.02, 0.016, "best"),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_stated_error_rate_holds(bench: Any, name: str) -> None:
    """With the true drop at the tolerance, at most 5 % of the searches end with the verdict, give or take chance."""
    case = bench.Case(*SEARCHES[name])
    assert bench.rate(case, case.tolerance, RUNS) <= bench.allowed(RUNS)


def test_no_drop_is_mostly_seen_as_such(bench: Any) -> None:
    """A bound is of use: on MRPC's number of rows a recipe that loses nothing mostly gets its verdict."""
    for metric in ("accuracy", "f1"):
        assert bench.rate(bench.Case(metric, 1725, 0.01, 0.004, "first"), 0.0, 50) > 0.8


def test_the_populations_are_what_they_say(bench: Any) -> None:
    """The true drop of each population is the one asked for."""
    for case in bench.cases():
        cells = bench.population(case, case.tolerance)
        assert bench.true_drop(case, cells) == pytest.approx(case.tolerance, rel=1e-9)
        assert bench.true_drop(case, bench.population(case, 0.0)) == pytest.approx(0.0, abs=1e-12)
