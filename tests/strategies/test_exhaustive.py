"""Strategy ``exhaustive``."""

from __future__ import annotations

import itertools
import logging
import random
import tracemalloc

import pytest

from ilit.testing import ANSWERS, BASELINE, SPACES, StrategyContract, simulate, synthetic_space
from ilit_strategies.enumeration import is_float_model, worth_trying
from ilit_strategies.exhaustive import Exhaustive


class TestContract(StrategyContract):
    """The public suite."""

    @pytest.fixture
    def strategy(self) -> Exhaustive:
        """Return ``exhaustive``."""
        return Exhaustive(Exhaustive.Options())


@pytest.mark.parametrize("name", SPACES)
def test_every_recipe_but_float32_is_tried_once(name: str) -> None:
    """Nothing is left out, nothing repeated, and the float model never asked for."""
    requests = simulate(Exhaustive(Exhaustive.Options()), SPACES[name], ANSWERS["all-missed"])

    assert len({request.recipe.digest for request in requests}) == len(requests) == worth_trying(SPACES[name])
    assert not any(is_float_model(request.recipe) for request in requests)


def test_preferred_candidates_come_first() -> None:
    """Counting order: the preferred recipe, then those that differ from it in the last op."""
    space = SPACES["four-ops"]

    first, second = simulate(Exhaustive(Exhaustive.Options()), space, ANSWERS["all-missed"])[:2]

    assert first.recipe == space.recipe({})
    assert [name for name in space.ops if first.recipe.ops[name] != second.recipe.ops[name]] == ["layer.3"]


def test_a_huge_space_starts_at_once_in_flat_memory(caplog: pytest.LogCaptureFixture) -> None:
    """10**47 recipes: the first thousand come within a megabyte, and log and request say how many there are."""
    space = synthetic_space(100)
    with caplog.at_level(logging.INFO):
        search = Exhaustive(Exhaustive.Options()).search(space, BASELINE, random.Random(1))  # noqa: S311 - a seed, not a secret
        first = next(search)
    tracemalloc.start()
    for _ in itertools.islice(search, 1000):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert first.why == f"recipe 1 of {3**100 - 1}"
    assert f"{3**100 - 1} recipes to try" in caplog.text
    assert peak < 2**20
