"""F1 under its three averages."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ilit.errors import DataError
from ilit_pytorch.metrics.f1 import F1


@pytest.mark.parametrize("average", ["binary", "macro", "micro"])
def test_a_right_row_never_lowers_f1(average: Any) -> None:
    """What ``reachable`` rests on, by brute force: every answer to every labelling of four rows."""
    classes = range(2 if average == "binary" else 3)
    metric, ones = F1(average), np.ones((1, 4))
    for labels in itertools.product(classes, repeat=4):
        truth = np.array(labels)
        scores = {
            answers: metric.scores(np.array(answers), truth, ones)[0]
            for answers in itertools.product(classes, repeat=4)
        }
        for answers, score in scores.items():
            for row in range(4):
                righted = (*answers[:row], labels[row], *answers[row + 1 :])
                assert scores[righted] >= score - 1e-12


def test_binary_f1_refuses_more_than_two_classes() -> None:
    """Scoring one class of three is never done in silence; the message names the cure."""
    with pytest.raises(DataError, match=r"3 classes.*average to macro or micro"):
        F1().update(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
