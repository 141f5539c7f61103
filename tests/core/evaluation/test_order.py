"""Orders: misses show early, no row is lost, and values find their way back to the loader's order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.evaluation.order import (
    STRETCHES,
    EvaluationOrder,
    EvaluationOrders,
    batched,
    depends_on_batch,
    misses_first,
    order_over,
)
from ilit.evaluation.rows import CachedRows, UncachedLoader
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.testing import FakeAdapter, fake_data, fake_model

ADAPTER = FakeAdapter()
BATCHES = fake_data(fake_model(), rows=40, batch_size=16)
STATIC = OpConfig("int8", "static", QuantSpec(granularity="per_channel"), QuantSpec("uint8", "asym"))


def test_misses_come_first_then_the_smallest_margins() -> None:
    """Wrong in float32 by margin, then right in float32 by margin."""
    wrong = np.array([False, True, False, True, False])
    margins = np.array([0.1, 2.0, 0.3, 1.0, 0.2], np.float32)
    assert misses_first(wrong, margins).tolist() == [3, 1, 0, 4, 2]


@given(shapes=st.lists(st.integers(0, 6), min_size=1, max_size=300), size=st.integers(1, 8), seed=st.integers(0, 9))
def test_every_row_is_in_one_batch_of_its_shape(shapes: list[int], size: int, seed: int) -> None:
    """No row is lost or doubled, no batch is too large or mixes shapes, and few are not full."""
    order = np.random.default_rng(seed).permutation(len(shapes)).tolist()
    groups = list(batched(order, shapes, size))
    assert sorted(row for group in groups for row in group) == sorted(order)
    assert all(0 < len(group) <= size and len({shapes[row] for row in group}) == 1 for group in groups)
    assert sum(len(group) < size for group in groups) <= len(STRETCHES) * len(set(shapes))


@pytest.mark.parametrize("share", STRETCHES)
def test_rows_stay_near_their_place(share: float) -> None:
    """A stretch holds the very rows of the order that it is to hold, whatever their shapes."""
    order = list(range(100, 0, -1))
    running = [row for group in batched(order, [row % 3 for row in range(101)], 5) for row in group]
    end = round(100 * share)  # a multiple of the batch size
    assert set(running[:end]) == set(order[:end])


def test_rows_of_one_shape_stay_in_order() -> None:
    """Without padding nothing is moved, and all batches but the last are full."""
    order = np.random.default_rng(0).permutation(97).tolist()
    groups = list(batched(order, [()] * 97, 8))
    assert [row for group in groups for row in group] == order
    assert [len(group) for group in groups] == [8] * 12 + [1]


def test_an_order_over_rows_leads_back_to_the_loaders() -> None:
    """Each batch has the rows it names, labels go along, and one value a row finds its way back."""
    cached = CachedRows()
    for batch in BATCHES:
        cached.add(batch)
        cached.counts.append(len(batch[0]))
    rows = np.random.default_rng(3).permutation(40).tolist()
    order = order_over(ADAPTER, cached, list(batched(rows, [()] * 40, 16)))
    assert order is not None
    assert order.labels is not None
    inputs = np.concatenate([inputs for inputs, _ in BATCHES])
    for _ in range(2):  # again and again
        seen = list(order.batches)
        assert [len(batch[0]) for batch in seen] == [16, 16, 8]
        assert np.array_equal(np.concatenate([batch[0] for batch in seen]), inputs[rows])
        assert np.array_equal(np.concatenate([batch[1] for batch in seen]), order.labels)
    assert order.in_loaders_order(np.array(rows)).tolist() == list(range(40))


@pytest.mark.parametrize(
    ("config", "depends"),
    [
        pytest.param(FLOAT32, False, id="float"),
        pytest.param(STATIC, False, id="static"),
        pytest.param(OpConfig("int8", "weight_only", QuantSpec()), False, id="weights only"),
        pytest.param(replace(STATIC, approach="dynamic"), True, id="dynamic"),
        pytest.param(
            replace(STATIC, approach="dynamic", activation=QuantSpec("uint8", granularity="per_token")),
            False,
            id="per token",
        ),
    ],
)
def test_one_range_for_a_batch_needs_the_loaders_own_batches(config: OpConfig, depends: bool) -> None:
    """A dynamic op's range comes from all rows of its batch, so other rows beside it would give other outputs."""
    recipe = Recipe({"a": STATIC, "b": config})
    plain, reordered = EvaluationOrder([]), EvaluationOrder([])
    assert depends_on_batch(recipe) is depends
    assert EvaluationOrders(plain, reordered).for_recipe(recipe) is (plain if depends else reordered)
    assert EvaluationOrders(plain).for_recipe(recipe) is plain


def test_an_order_knows_that_its_loader_gave_other_rows() -> None:
    """While and after such an evaluation; cached batches cannot change."""
    digests = [ADAPTER.row_digests(batch) for batch in BATCHES]
    for batches, changed in ((BATCHES, False), (BATCHES[::-1], True)):
        order = EvaluationOrder(UncachedLoader(batches, ADAPTER.row_digests, digests))
        assert sum(len(batch[0]) for batch in order.batches) == 40
        assert order.changed_rows is changed
    assert not EvaluationOrder(BATCHES).changed_rows
