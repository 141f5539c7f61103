"""Promises of ``ilit_bert.metrics.first_score``: the first full evaluation is told, once, and may be refused."""

from __future__ import annotations

import numpy as np
import pytest

from ilit.errors import EvaluationError
from ilit_bert.metrics.first_score import first_score
from ilit_bert.metrics.glue import Glue


def evaluated(rows):
    """Return the score of so many rows, all right."""
    metric = Glue("SST-2")
    metric.update(np.tile([[0.0, 1.0]], (rows, 1)), np.ones(rows, int))
    return metric.result()


def test_only_the_first_full_evaluation_is_told():
    """Fewer rows before it and full ones after it are passed over; outside the block nobody is told."""
    heard = []
    with first_score(4, lambda metric, score: heard.append((len(metric.labels()), score))):
        for rows in (2, 4, 4):
            assert evaluated(rows) == 1.0
    evaluated(4)

    assert heard == [(4, 1.0)]


def test_what_the_listener_raises_ends_the_evaluation():
    """An error of the listener comes out of the metric's result."""

    def refuse(*_):
        raise EvaluationError("no")

    with first_score(4, refuse), pytest.raises(EvaluationError, match="no"):
        evaluated(4)
