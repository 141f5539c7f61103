"""Shares of hits and the predictions behind them."""

from __future__ import annotations

import numpy as np

from ilit_pytorch.metrics.top_k import TopK

RNG = np.random.default_rng(9527)
SCORES, LABELS = RNG.normal(size=(40, 5)), RNG.integers(0, 5, 40)


def test_topk_predictions_say_hit_or_miss() -> None:
    """A label among the k highest is the prediction; else one of those k, which it is not."""
    metric = TopK(2)
    metric.update(SCORES, LABELS)
    hits = (np.argsort(-SCORES, axis=1)[:, :2] == LABELS[:, None]).any(axis=1)
    assert ((metric.predictions() == LABELS) == hits).all()
