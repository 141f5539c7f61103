"""The fake framework's metric keeps the laws of a ``PairedMetric``."""

from __future__ import annotations

import numpy as np
import pytest

from ilit.testing import (
    FakeAccuracy,
    MetricCase,
    MetricContract,
)


class TestFakeAccuracy(MetricContract):
    @pytest.fixture
    def case(self) -> MetricCase:
        outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [1.0, 0.0]], np.float32)
        labels = np.array([0, 1, 1, 1, 0])
        return MetricCase(FakeAccuracy, outputs, labels, expected=0.8, misfit=(outputs, labels[:2]))
