"""Whether two sets of model outputs are the same to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def identical(one: Any, other: Any) -> bool:
    """Return whether two outputs, as ``Adapter.outputs`` gives them, agree in structure, shape, dtype and every bit.

    Bits rather than values: a NaN equals the same NaN, and 0.0 differs from -0.0.
    """
    if isinstance(one, Mapping):
        same_keys = isinstance(other, Mapping) and list(one) == list(other)
        return same_keys and all(identical(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        same_length = isinstance(other, (tuple, list)) and len(one) == len(other)
        return same_length and all(identical(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(other, (Mapping, tuple, list)):
        return False
    a, b = np.asarray(one), np.asarray(other)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
