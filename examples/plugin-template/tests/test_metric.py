"""Metric ``balanced_accuracy``: ilit's laws, and the words of its errors."""

from __future__ import annotations

import numpy as np
import pytest
from ilit_template.metric import BalancedAccuracy

from ilit.errors import DataError
from ilit.testing import MetricCase, MetricContract

LOGITS = np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 1, 0]]  # (6, 2): predictions 0 0 0 0 1 0
LABELS = np.array([0, 0, 0, 0, 1, 1])


class TestContract(MetricContract):
    """The published suite."""

    @pytest.fixture
    def case(self) -> MetricCase:
        """All four rows of class 0 are right and one of two of class 1: the mean of 1 and 0.5."""
        return MetricCase(BalancedAccuracy, LOGITS, LABELS, expected=0.75, misfit=(LOGITS, LABELS[:-1]))


@pytest.mark.parametrize(
    ("labels", "text"),
    [(np.array([0, 1, 2, 0, 0, 0]), r"labels lie in 0\.\.2, but the model has 2 classes"), (LABELS[:1], "do not fit")],
    ids=["label-out-of-range", "too-few-labels"],
)
def test_bad_labels_are_refused(labels: np.ndarray, text: str) -> None:
    """A label the model has no class for is the data's mistake, never a silent miss."""
    with pytest.raises(DataError, match=text):
        BalancedAccuracy().update(LOGITS, labels)
