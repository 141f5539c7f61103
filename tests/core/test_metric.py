"""The protocols of metrics: told by their methods, without numpy."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from ilit.metric import Metric, PairedMetric
from ilit.testing import FakeAccuracy


class Plain:
    """The least a metric has."""

    name: ClassVar[str] = "plain"
    higher_is_better: ClassVar[bool] = True

    def update(self, outputs: Any, labels: Any) -> None: ...

    def result(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("metric", "is_metric", "is_paired"),
    [
        pytest.param(Plain(), True, False, id="plain"),
        pytest.param(FakeAccuracy(), True, True, id="paired"),
        pytest.param(object(), False, False, id="none"),
    ],
)
def test_a_metric_is_told_by_its_methods(metric: object, is_metric: bool, is_paired: bool) -> None:
    """Without the methods of pairing it is a metric all the same."""
    assert isinstance(metric, Metric) is is_metric
    assert isinstance(metric, PairedMetric) is is_paired


@pytest.mark.parametrize(
    "lacking", ["by_row", "share_of_right", "predictions", "labels", "margins", "scores", "reachable"]
)
def test_pairing_needs_all_of_it(lacking: str) -> None:
    """A metric that lacks one attribute or method is judged by its number alone."""
    members = {name: value for name, value in vars(FakeAccuracy).items() if name != lacking and name[:2] != "__"}
    partial = type("Partial", (), {**members, "__init__": lambda self: None})()

    assert isinstance(partial, Metric)
    assert not isinstance(partial, PairedMetric)
