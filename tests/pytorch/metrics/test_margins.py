"""Margins of rows, as the metrics give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ilit_pytorch.metrics.f1 import F1
from ilit_pytorch.metrics.top_k import Accuracy, TopK

MARGINS: dict[str, tuple[Callable[[], Any], Any, list[float]]] = {
    "accuracy": (Accuracy, [[0.5, 2.0, 1.0], [3.0, 0.0, 1.0]], [1.0, 2.0]),
    "f1": (lambda: F1("macro"), [[0.5, 2.0, 1.0], [3.0, 0.0, 1.0]], [1.0, 2.0]),
    "top2 by what would have to change places": (lambda: TopK(2), [[0.5, 2.0, 1.0], [3.0, 0.0, 1.0]], [1.5, 1.0]),
    "topk of all classes never misses": (lambda: TopK(3), [[0.5, 2.0, 1.0], [3.0, 0.0, 1.0]], [np.inf, np.inf]),
    "class numbers": (Accuracy, [1, 2], []),
}


@pytest.mark.parametrize("name", MARGINS)
def test_margins(name: str) -> None:
    """How far each row is from turning, for labels 1 and 1; empty where the model gave class numbers."""
    make, outputs, wanted = MARGINS[name]
    metric = make()
    metric.update(np.array(outputs), np.array([1, 1]))
    assert metric.margins().tolist() == wanted
