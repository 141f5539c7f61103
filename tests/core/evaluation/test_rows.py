"""Evaluation rows: cached once, told apart, and never mistaken for one another."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.errors import DataError
from ilit.evaluation.rows import CachedRows, UncachedLoader, WatchedLoader, shapes_of, split
from ilit.testing import FakeAdapter, fake_data, fake_model

ADAPTER = FakeAdapter()
BATCHES = fake_data(fake_model(), rows=40, batch_size=16)


def cached_of(batches: list[Any]) -> CachedRows:
    """Cache these batches, as the float model's pass does."""
    cached = CachedRows()
    for batch in batches:
        cached.add(batch)
        cached.counts.append(len(batch[0]))
    return cached


class Passes:
    """A loader that gives the next of some lists of batches each time."""

    def __init__(self, *passes: list[Any]) -> None:
        self.passes = list(passes)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.passes.pop(0))


# --- Cached rows -----------------------------------------------------------------------------------------------------


def test_the_loaders_own_batches_are_cached() -> None:
    """The very objects, in the loader's order, with every row's label and place."""
    cached = cached_of(BATCHES)
    assert cached.batches is not None
    assert all(one is other for one, other in zip(cached.batches, BATCHES, strict=True))
    labels = cached.labels()
    assert labels is not None
    assert np.array_equal(labels, np.concatenate([labels for _, labels in BATCHES]))
    assert cached.places[15:18] == [(0, 15), (1, 0), (1, 1)]


def test_too_many_bytes_are_not_cached(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound the rows are let go and the log says why; the labels, which take little, stay."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 2000)
    with caplog.at_level(logging.INFO, logger="ilit"):
        cached = cached_of(BATCHES)
    assert cached.batches is None
    assert cached.labels() is not None
    assert caplog.text.count("evaluation rows stay in the loader's order: they take more than 0 MiB") == 1


def test_too_many_bytes_of_labels_are_not_cached_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels as large as images do not fill the memory."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 100)
    assert cached_of(BATCHES).labels() is None


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
    cached = CachedRows()
    cached.add(batch)
    assert 8000 <= cached.bytes <= 8200


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
    cached = CachedRows()
    for label in labels:
        cached.add((np.zeros((2, 1)), label))
        cached.counts.append(2)
    assert cached.labels() is None


def test_own_batches_without_some_rows() -> None:
    """The loader's own batches stay together when rows are held out."""
    assert cached_of(BATCHES).own_batches([0, 15, 16, 39]) == [[0, 15], [16], [39]]


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
        assert shapes_of(adapter, cached_of(BATCHES)) is None
    assert "evaluation rows stay in the loader's order: " in caplog.text
    assert why in caplog.text
    assert len(caplog.records) == 1


# --- A watched loader ------------------------------------------------------------------------------------------------


def seeded(seed: int) -> random.Random:
    """Return a generator of its own."""
    return random.Random(seed)  # noqa: S311 - a sample, not a secret


def test_watching_changes_nothing() -> None:
    """Batches pass as they are; the rows' digests are noted, anew on each pass."""
    batches = [(number, number) for number in range(5)]
    watched = WatchedLoader(Passes(batches, batches), lambda batch: [f"row {batch[0]}"], seeded(1))
    assert list(watched) == batches
    assert list(watched) == batches
    assert watched.digests == [[f"row {number}"] for number in range(5)]
    assert watched.cached.batches == batches


def test_a_loader_that_reuses_its_memory_is_not_cached() -> None:
    """Batches that all become the last one are no rows to come back to; their labels were copied in time."""

    class Reusing:
        def __iter__(self) -> Iterator[Any]:
            inputs, labels = np.zeros((2, 1)), np.zeros(2, np.int64)
            for number in range(3):
                inputs[:], labels[:] = number, number
                yield inputs, labels

    watched = WatchedLoader(Reusing(), lambda batch: [str(row) for row in batch[0]], seeded(1))
    for batch in watched:
        watched.count_rows(len(batch[0]))
    assert watched.cached.batches is None
    labels = watched.cached.labels()
    assert labels is not None
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_costs_are_measured_on_a_sample_of_all_batches() -> None:
    """Three different batches, from anywhere in the data, the same for the same seed."""

    def sampled(seed: int) -> list[int]:
        watched = WatchedLoader([(number, 0) for number in range(100)], lambda batch: [], seeded(seed))
        list(watched)
        return [batch[0] for batch in watched.cost_batches]

    assert sampled(7) == sampled(7)
    assert all(len(set(sampled(seed))) == 3 for seed in range(20))
    assert max(max(sampled(seed)) for seed in range(20)) > 80


def test_fewer_batches_are_all_sampled() -> None:
    """A loader of two batches has both in the sample."""
    watched = WatchedLoader([("a", 0), ("b", 0)], lambda batch: [], seeded(1))
    list(watched)
    assert watched.cost_batches == [("a", 0), ("b", 0)]


# --- An uncached loader ----------------------------------------------------------------------------------------------


A, B, C = BATCHES


@pytest.mark.parametrize(
    ("second", "changes_at"),
    [
        pytest.param([A, B, C], None, id="the same"),
        pytest.param([A, C, B], 1, id="another order"),
        pytest.param([A, (B[0] + 1, B[1]), C], 1, id="other values"),
        pytest.param([A, B], 2, id="fewer"),
        pytest.param([A, B, C, A], 3, id="more"),
    ],
)
def test_a_loader_that_gives_other_rows_is_noticed(
    second: list[Any], changes_at: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first batch that differs, and only in that pass; batches go through as they are."""
    loader = UncachedLoader(Passes(second, [A, B, C]), ADAPTER.row_digests, [ADAPTER.row_digests(b) for b in (A, B, C)])
    seen = []
    with caplog.at_level(logging.INFO, logger="ilit"):
        for number, batch in enumerate(loader):
            seen.append(batch)
            assert loader.changed_rows is (changes_at is not None and number >= changes_at)
    assert all(one is other for one, other in zip(seen, second, strict=True))
    assert loader.changed_rows is (changes_at is not None)
    assert caplog.text.count("eval_dataloader gives other rows") == (changes_at is not None)
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
