"""Registration, and determinism across processes, of every strategy of the package."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ilit.strategy import Strategy
from ilit_strategies import plugin

DIGESTS = """
import hashlib, sys
from ilit_strategies import plugin
from ilit.testing import ANSWERS, SPACES, simulate
for strategy in plugin.ilit_strategies():
    for space in SPACES.values():
        for answer in ANSWERS.values():
            for request in simulate(strategy(strategy.Options()), space, answer):
                print(strategy.name, type(request).__name__, request.why, request.recipe.digest)
"""


def test_the_strategies_are_registered() -> None:
    """The hook offers them by the names users write."""
    offered = plugin.ilit_strategies()

    assert {"basic", "exhaustive", "mse", "random"} <= {strategy.name for strategy in offered}
    assert all(isinstance(strategy(strategy.Options()), Strategy) for strategy in offered)


def test_another_process_makes_the_same_requests() -> None:
    """Resume replays a journal in a new process, so the order of sets of strings must not matter."""
    runs = [
        subprocess.run(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert len(runs[0].splitlines()) > 1000
    assert runs[0] == runs[1]


@pytest.mark.parametrize("strategy", plugin.ilit_strategies(), ids=lambda strategy: strategy.name)
def test_the_docstring_says_how_many_evaluations(strategy: type) -> None:
    """A user can read what a strategy costs at worst."""
    assert "Evaluations at worst" in (strategy.__doc__ or "")
