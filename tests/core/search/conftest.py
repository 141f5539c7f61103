"""Fixtures of a search: the batches that evaluations see, rows that are too many to cache, and unusual metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from ilit.testing import FakeAccuracy, FakeAdapter


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Return the batches of every evaluation that will be run, one list each."""
    evaluations: list[list[Any]] = []
    original = FakeAdapter.evaluate

    def evaluate(self: FakeAdapter, model: Any, loader: Any, metric: Any, on_batch: Any = None) -> float:
        batches: list[Any] = []
        evaluations.append(batches)

        def noted() -> Iterator[Any]:
            for batch in loader:
                batches.append(batch)
                yield batch

        return original(self, model, noted(), metric, on_batch)

    monkeypatch.setattr(FakeAdapter, "evaluate", evaluate)
    return evaluations


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows take more memory than may be cached, and their labels not."""
    monkeypatch.setattr("ilit.evaluation.rows.MOST_BYTES", 5000)


class ScoreOnly:
    """A metric that is no ``PairedMetric``."""

    name: ClassVar[str] = "score_only"
    higher_is_better: ClassVar[bool] = True

    def __init__(self) -> None:
        self._inner = FakeAccuracy()

    def update(self, outputs: Any, labels: Any) -> None:
        self._inner.update(outputs, labels)

    def result(self) -> float:
        return self._inner.result()


class Halves(FakeAccuracy):
    """A metric that claims to have a unit a row, and has one for two."""

    name: ClassVar[str] = "halves"

    def predictions(self) -> Any:
        return super().predictions()[::2]

    def labels(self) -> Any:
        return super().labels()[::2]


class Questions(FakeAccuracy):
    """A metric whose units are not rows."""

    name: ClassVar[str] = "questions"
    by_row = False


@pytest.fixture
def unusual_metrics(plugin: Callable[..., Any]) -> dict[str, Any]:
    """Return plugins with the metrics ``score_only``, ``halves`` and ``questions``."""
    return {"more": plugin(ilit_metrics=lambda: [ScoreOnly, Halves, Questions])}
