"""Evaluation rows: kept once, put where misses show early, and never mistaken for one another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.errors import DataError
from ilit.evaluation.rows import (
    STRETCHES,
    CachedRows,
    EvaluationOrder,
    EvaluationOrders,
    UncachedLoader,
    batched,
    course_of,
    depends_on_batch,
    misses_first,
    shapes_of,
    split,
)
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.testing import FakeAdapter, fake_data, fake_model

ADAPTER = FakeAdapter()
BATCHES = fake_data(fake_model(), rows=40, batch_size=16)
STATIC = OpConfig("int8", "static", QuantSpec(granularity="per_channel"), QuantSpec("uint8", "asym"))


def kept_of(batches: list[Any]) -> CachedRows:
    """Keep these batches, as the float model's pass does."""
    kept = CachedRows()
    for batch in batches:
        kept.take(batch)
        kept.counts.append(len(batch[0]))
    return kept


# --- Keeping ---------------------------------------------------------------------------------------------------------


def test_what_is_kept_are_the_loaders_own_batches() -> None:
    """The very objects, in the loader's order, with every row's label and place."""
    kept = kept_of(BATCHES)
    assert kept.batches is not None
    assert all(one is other for one, other in zip(kept.batches, BATCHES, strict=True))
    labels = kept.labels()
    assert labels is not None
    assert np.array_equal(labels, np.concatenate([labels for _, labels in BATCHES]))
    assert kept.places[15:18] == [(0, 15), (1, 0), (1, 1)]


def test_too_many_bytes_are_not_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound the rows are let go and the log says why; the labels, which take little, stay."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 2000)
    with caplog.at_level(logging.INFO, logger="ilit"):
        kept = kept_of(BATCHES)
    assert kept.batches is None
    assert kept.labels() is not None
    assert caplog.text.count("evaluation rows stay in the loader's order: they take more than 0 MiB") == 1


def test_too_many_bytes_of_labels_are_not_kept_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels as large as images do not fill the memory."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 100)
    assert kept_of(BATCHES).labels() is None


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(({"x": np.zeros((2, 500))}, 0), id="mapping"),
        pytest.param(((np.zeros((2, 250)), [np.zeros((2, 250))]), 0), id="nested"),
        pytest.param((["a" * 8000], 0), id="text"),
    ],
)
def test_bytes_are_counted_in_any_structure(batch: Any) -> None:
    """Arrays count by their elements, anything else by what Python says of it."""
    kept = CachedRows()
    kept.take(batch)
    assert 8000 <= kept.bytes <= 8200


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([np.zeros((2, 3)), np.zeros((2, 4))], id="other shapes"),
        pytest.param([np.zeros(2), np.zeros(3)], id="other rows"),
        pytest.param([{"start": np.zeros(2)}] * 2, id="mappings"),
        pytest.param([np.zeros(2), 1], id="one for all"),
        pytest.param([[[1], [1, 2]]] * 2, id="ragged"),
    ],
)
def test_labels_that_are_no_rows_are_unknown(labels: list[Any]) -> None:
    """Where the rows to come cannot be told, nothing is said of them."""
    kept = CachedRows()
    for label in labels:
        kept.take((np.zeros((2, 1)), label))
        kept.counts.append(2)
    assert kept.labels() is None


# --- Order -----------------------------------------------------------------------------------------------------------


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


def test_rows_of_one_shape_keep_their_order() -> None:
    """Without padding nothing is moved, and all batches but the last are full."""
    order = np.random.default_rng(0).permutation(97).tolist()
    groups = list(batched(order, [()] * 97, 8))
    assert [row for group in groups for row in group] == order
    assert [len(group) for group in groups] == [8] * 12 + [1]


def test_a_course_over_rows_leads_back_to_the_loaders_order() -> None:
    """Each batch has the rows it names, labels go along, and one value a row finds its way back."""
    kept = kept_of(BATCHES)
    order = np.random.default_rng(3).permutation(40).tolist()
    course = course_of(ADAPTER, kept, list(batched(order, [()] * 40, 16)))
    assert course is not None
    assert course.labels is not None
    inputs = np.concatenate([inputs for inputs, _ in BATCHES])
    for _ in range(2):  # again and again
        seen = list(course.batches)
        assert [len(batch[0]) for batch in seen] == [16, 16, 8]
        assert np.array_equal(np.concatenate([batch[0] for batch in seen]), inputs[order])
        assert np.array_equal(np.concatenate([batch[1] for batch in seen]), course.labels)
    assert course.in_loaders_order(np.array(order)).tolist() == list(range(40))


def test_own_batches_without_some_rows() -> None:
    """The loader's own batches stay together when rows are held out."""
    assert kept_of(BATCHES).own_batches([0, 15, 16, 39]) == [[0, 15], [16], [39]]


class NoRegroup(FakeAdapter):
    """An adapter without the optional methods."""

    regroup = None  # type: ignore[assignment]  # an ability given up
    row_shapes = None  # type: ignore[assignment]


class NoRows(FakeAdapter):
    """An adapter that cannot tell rows of these batches apart."""

    def row_shapes(self, batch: Any) -> Any:
        raise DataError("a batch holds text")


class OtherRows(FakeAdapter):
    """An adapter to which a batch has fewer rows than it has predictions."""

    def row_shapes(self, batch: Any) -> Any:
        return super().row_shapes(batch)[1:]


@pytest.mark.parametrize(
    ("adapter", "why"),
    [
        (NoRegroup(), "adapter fake cannot regroup them"),
        (NoRows(), "a batch holds text"),
        (OtherRows(), "more or fewer rows than predictions"),
    ],
    ids=["no regroup", "no rows", "other rows"],
)
def test_rows_that_cannot_be_told_apart_stay_and_the_log_says_why(
    adapter: FakeAdapter, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, and nothing else changes."""
    with caplog.at_level(logging.INFO, logger="ilit"):
        assert shapes_of(adapter, kept_of(BATCHES)) is None
    assert f"evaluation rows stay in the loader's order: {why}" in caplog.text or why in caplog.text
    assert len(caplog.records) == 1


# --- Which way -------------------------------------------------------------------------------------------------------


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
    """A dynamic op's range comes from all rows of its batch, so other company would give other outputs."""
    recipe = Recipe({"a": STATIC, "b": config})
    plain, ordered = EvaluationOrder([]), EvaluationOrder([])
    assert depends_on_batch(recipe) is depends
    assert EvaluationOrders(plain, ordered).fitting(recipe) is (plain if depends else ordered)
    assert EvaluationOrders(plain).fitting(recipe) is plain


# --- Loaders that are iterated anew ----------------------------------------------------------------------------------


class Passes:
    """A loader that gives the next of some lists of batches each time."""

    def __init__(self, *passes: list[Any]) -> None:
        self.passes = list(passes)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.passes.pop(0))


A, B, C = BATCHES


@pytest.mark.parametrize(
    ("second", "strays_at"),
    [
        pytest.param([A, B, C], None, id="the same"),
        pytest.param([A, C, B], 1, id="another order"),
        pytest.param([A, (B[0] + 1, B[1]), C], 1, id="other values"),
        pytest.param([A, B], 2, id="fewer"),
        pytest.param([A, B, C, A], 3, id="more"),
    ],
)
def test_a_loader_that_gives_other_rows_is_noticed(
    second: list[Any], strays_at: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first batch that differs, and only in that pass; batches go through as they are."""
    loader = UncachedLoader(Passes(second, [A, B, C]), ADAPTER.row_digests, [ADAPTER.row_digests(b) for b in (A, B, C)])
    seen = []
    with caplog.at_level(logging.INFO, logger="ilit"):
        for number, batch in enumerate(loader):
            seen.append(batch)
            assert loader.changed_rows is (strays_at is not None and number >= strays_at)
    assert all(one is other for one, other in zip(seen, second, strict=True))
    assert EvaluationOrder(loader).changed_rows is (strays_at is not None)
    assert caplog.text.count("eval_dataloader gives other rows") == (strays_at is not None)
    list(loader)
    assert not loader.changed_rows


# --- Holding out -----------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 500), share=st.floats(0, 0.9), seed=st.integers(0, 2**32 - 1))
def test_a_split_loses_no_row(count: int, share: float, seed: int) -> None:
    """Both parts are in the loader's order and together are all rows; the same seed gives the same parts."""
    searched, held = split(count, share, seed)
    assert sorted(searched + held) == list(range(count))
    assert searched == sorted(searched)
    assert held == sorted(held)
    assert len(held) == round(count * share)
    assert split(count, share, seed) == (searched, held)


def test_another_seed_holds_out_other_rows() -> None:
    """The split is drawn, not cut off at one end."""
    assert split(100, 0.2, 1)[1] != split(100, 0.2, 2)[1]
