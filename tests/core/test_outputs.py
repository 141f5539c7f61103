"""Whether outputs are the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilit.outputs import identical

ONE = np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(ONE, ONE.copy(), True, id="equal arrays"),
        pytest.param(ONE, np.nextafter(ONE, 9, dtype=np.float32), False, id="one bit apart"),
        pytest.param(ONE, ONE.astype(np.float64), False, id="another dtype"),
        pytest.param(ONE, ONE.reshape(2, 1), False, id="another shape"),
        pytest.param(np.array([np.nan]), np.array([np.nan]), True, id="the same NaN"),
        pytest.param(np.array([0.0]), np.array([-0.0]), False, id="the sign of zero"),
        pytest.param((ONE, ONE), (ONE, ONE), True, id="tuples"),
        pytest.param((ONE, ONE), (ONE,), False, id="tuples of other lengths"),
        pytest.param({"a": ONE}, {"a": ONE}, True, id="dicts"),
        pytest.param({"a": ONE}, {"b": ONE}, False, id="dicts of other keys"),
        pytest.param({"a": ONE}, (ONE,), False, id="a dict and a tuple"),
        pytest.param(ONE, (ONE,), False, id="an array and a tuple"),
    ],
)
def test_outputs_are_compared_bit_by_bit(one: Any, other: Any, same: bool) -> None:
    """Structure, shape, dtype and every bit count, whichever comes first."""
    assert identical(one, other) is same
    assert identical(other, one) is same
