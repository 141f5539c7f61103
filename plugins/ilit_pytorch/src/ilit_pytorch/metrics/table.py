"""The table of metrics that ilit-pytorch registers."""

from __future__ import annotations

from typing import Any

from ilit_pytorch.metrics.f1 import F1
from ilit_pytorch.metrics.regression import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from ilit_pytorch.metrics.top_k import Accuracy, TopK

METRICS: list[Any] = [TopK, Accuracy, F1, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError]
