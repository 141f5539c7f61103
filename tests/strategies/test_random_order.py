"""Strategy ``random``."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.testing import ANSWERS, BASELINE, SPACES, StrategyContract, simulate, synthetic_space
from ilit_strategies.enumeration import is_float_model, worth_trying
from ilit_strategies.random_order import Random, shuffled


class TestContract(StrategyContract):
    """The public suite."""

    @pytest.fixture
    def strategy(self) -> Random:
        """Return ``random``."""
        return Random(Random.Options())


@pytest.mark.parametrize("name", SPACES)
def test_every_recipe_but_float32_is_tried_once(name: str) -> None:
    """It ends when all are tried; nothing is repeated, and the float model never asked for."""
    requests = simulate(Random(Random.Options()), SPACES[name], ANSWERS["all-missed"])

    assert len({request.recipe.digest for request in requests}) == len(requests) == worth_trying(SPACES[name])
    assert not any(is_float_model(request.recipe) for request in requests)


def test_the_seed_decides_the_order() -> None:
    """One seed, one order; another seed, another."""
    orders = [
        [request.recipe.digest for request in simulate(Random(Random.Options()), SPACES["four-ops"], answer, seed)]
        for seed, answer in itertools.product((1, 2), (ANSWERS["all-missed"], ANSWERS["all-failed"]))
    ]

    assert orders[0] == orders[1]
    assert orders[2] == orders[3]
    assert orders[0] != orders[2]


def test_a_huge_space_is_drawn_from_in_flat_memory() -> None:
    """10**47 recipes: a thousand different ones come within a megabyte, spread over the whole space."""
    space = synthetic_space(100)
    search = Random(Random.Options()).search(space, BASELINE, random.Random(1))  # noqa: S311 - a seed, not a secret
    next(search)
    tracemalloc.start()
    first_ops = {str(trial.recipe.ops["layer.0"]) for trial in itertools.islice(search, 1000)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(first_ops) == 3
    assert peak < 2**20


@given(st.integers(0, 300), st.binary(min_size=16, max_size=16))
def test_shuffled_is_a_permutation(size: int, key: bytes) -> None:
    """Whatever size and key, every number comes exactly once."""
    assert sorted(shuffled(size, key)) == list(range(size))


def test_shuffled_has_every_order_of_four() -> None:
    """All 24 orders of 4 numbers come up, none of them much more often than the others."""
    keys = random.Random(0)  # noqa: S311 - a seed, not a secret
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(4800):
        order = tuple(shuffled(4, keys.randbytes(16)))
        counts[order] = counts.get(order, 0) + 1

    assert len(counts) == 24
    assert 100 < min(counts.values()) <= max(counts.values()) < 300  # 200 expected; 7 standard deviations of 14


@given(st.integers(10**30, 10**60), st.binary(min_size=16, max_size=16))
def test_shuffled_stays_inside_beyond_64_bits(size: int, key: bytes) -> None:
    """Numbers of any width stay below the size and differ."""
    numbers = list(itertools.islice(shuffled(size, key), 20))

    assert all(0 <= number < size for number in numbers)
    assert len(set(numbers)) == 20
