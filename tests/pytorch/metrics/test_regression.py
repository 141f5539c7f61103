"""Errors of numbers, batch by batch."""

from __future__ import annotations

import numpy as np
import pytest

from ilit_pytorch.metrics.regression import MeanSquaredError

RNG = np.random.default_rng(9527)
FOUND, WANTED = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))


def test_rows_of_unequal_size_weigh_by_their_values() -> None:
    """Batches whose rows hold different numbers of values still average to the result."""
    metric = MeanSquaredError()
    metric.update(FOUND, WANTED)
    metric.update(FOUND[:, :1], WANTED[:, :1])
    scores = metric.scores(metric.predictions(), metric.labels(), np.ones((1, 80)))
    assert scores[0] == pytest.approx(metric.result(), rel=1e-6)
