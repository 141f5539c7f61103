"""Margins: how far, in scores, a row is from another answer."""

from __future__ import annotations

import numpy as np

from ilit.metric_units import logit_margins


def class_margins(outputs: np.ndarray) -> np.ndarray | None:
    """Return ``logit_margins`` of scores, or None where the model gave class numbers."""
    return logit_margins(outputs) if outputs.ndim == 2 and outputs.shape[1] > 1 else None


def hit_margins(scores: np.ndarray, labels: np.ndarray, hits: np.ndarray, k: int) -> np.ndarray:
    """Return by how much each label's score would have to change to turn hit and miss, float32 (rows,).

    A hit is compared with the highest score outside the first k, a miss with the lowest within.

    Args:
        scores: (rows, classes).
        labels: class numbers, (rows,).
        hits: which labels are among the k highest scores, (rows,).
        k: fewer than there are classes.
    """
    scores = scores.astype(np.float32)
    ranked = -np.partition(-scores, [k - 1, k], axis=1)  # k highest, then the next
    own = scores[np.arange(len(labels)), labels]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        apart = np.abs(np.where(hits, own - ranked[:, k], ranked[:, k - 1] - own))
    return np.asarray(np.nan_to_num(apart, nan=0.0, posinf=np.inf))
