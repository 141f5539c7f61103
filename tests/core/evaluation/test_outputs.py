"""Two sets of outputs beside each other: the same to the last bit, how far apart, and what cannot be compared."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ilit.evaluation.outputs import DEEPEST, apart, arrays, compared, identical, off

ONE = np.array([1.0, 2.0], np.float32)
OTHER = np.nextafter(ONE, 9, dtype=np.float32)


@dataclass
class Answer:
    """What a model of today may give."""

    logits: Any
    hidden: Any = None


class Plain:
    """An object with attributes and no equality of its own."""

    def __init__(self, logits: Any) -> None:
        self.logits = logits


class Tensor:
    """An array of another library."""

    def __init__(self, values: Any, works: bool = True) -> None:
        self.values, self.works = values, works

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if not self.works:
            raise TypeError("can't convert Sparse layout tensor to numpy")
        return self.values


class Grumpy:
    """An object whose equality has no answer."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")


class Colour(Enum):
    RED = 1
    BLUE = 2


Pair = namedtuple("Pair", ["start", "end"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(ONE, ONE.copy(), True, id="equal arrays"),
        pytest.param(ONE, OTHER, False, id="one bit apart"),
        pytest.param(ONE, ONE.astype(np.float64), False, id="another dtype"),
        pytest.param(ONE, ONE.reshape(2, 1), False, id="another shape"),
        pytest.param(np.array([np.nan]), np.array([np.nan]), True, id="the same NaN"),
        pytest.param(np.array([0.0]), np.array([-0.0]), False, id="the sign of zero"),
        pytest.param((ONE, ONE), (ONE, ONE), True, id="tuples"),
        pytest.param((ONE, ONE), [ONE, ONE], True, id="a tuple and a list"),
        pytest.param((ONE, ONE), (ONE,), False, id="tuples of other lengths"),
        pytest.param({"a": ONE}, OrderedDict(a=ONE), True, id="dicts"),
        pytest.param({"a": ONE}, {"b": ONE}, False, id="dicts of other keys"),
        pytest.param({"a": ONE}, (ONE,), False, id="a dict and a tuple"),
        pytest.param({0: ONE}, (ONE,), False, id="a dict of numbers and a tuple"),
        pytest.param({}, (), False, id="empty, of another kind"),
        pytest.param(ONE, (ONE,), False, id="an array and a tuple"),
        pytest.param({"a": [ONE, None]}, {"a": [ONE, None]}, True, id="None within"),
        pytest.param({"a": None}, {"a": ONE}, False, id="None and an array"),
        pytest.param(Pair(ONE, ONE), Pair(ONE, ONE), True, id="namedtuples"),
        pytest.param(Pair(ONE, ONE), Pair(ONE, OTHER), False, id="namedtuples that differ"),
        pytest.param(Answer(ONE, (ONE,)), Answer(ONE.copy(), (ONE,)), True, id="dataclasses"),
        pytest.param(Answer(ONE), Answer(OTHER), False, id="dataclasses that differ"),
        pytest.param(Plain(ONE), Plain(ONE.copy()), True, id="plain objects"),
        pytest.param(Plain(ONE), Plain(OTHER), False, id="plain objects that differ"),
        pytest.param(Plain(ONE), Answer(ONE), False, id="objects of other classes"),
        pytest.param(SimpleNamespace(a=ONE), SimpleNamespace(a=ONE.copy()), True, id="namespaces"),
        pytest.param(SimpleNamespace(a=ONE), SimpleNamespace(a=OTHER), False, id="namespaces that differ"),
        pytest.param(Tensor(ONE), Tensor(ONE.copy()), True, id="tensors"),
        pytest.param(Tensor(ONE), Tensor(OTHER), False, id="tensors that differ"),
        pytest.param(Tensor(ONE, works=False), Tensor(ONE, works=False), None, id="tensors that are no arrays"),
        pytest.param(0.5, 0.5, True, id="floats"),
        pytest.param(math.nan, math.nan, True, id="NaN as a float"),
        pytest.param(0.5, np.float64(0.5), True, id="a float and a scalar"),
        pytest.param(10**30, 10**30, True, id="large integers"),
        pytest.param(3, 4, False, id="integers that differ"),
        pytest.param("cat", "cat", True, id="text"),
        pytest.param("cat", "dog", False, id="text that differs"),
        pytest.param(Colour.RED, Colour.RED, True, id="enum"),
        pytest.param(Colour.RED, Colour.BLUE, False, id="enum that differs"),
        pytest.param(np.array([ONE, "a"], object), np.array([ONE.copy(), "a"], object), True, id="arrays of objects"),
        pytest.param(np.array([ONE, "a"], object), np.array([ONE, "b"], object), False, id="others of objects"),
        pytest.param(object(), object(), None, id="no value at all"),
        pytest.param(Grumpy(), Grumpy(), None, id="no answer"),
    ],
)  # fmt: skip
def test_outputs_are_compared_bit_by_bit(one: Any, other: Any, same: bool | None) -> None:
    """Structure, shape, dtype and every bit count, whichever comes first; what cannot be compared is no difference."""
    assert identical(one, other) is (same is not False)
    assert identical(other, one) is (same is not False)
    assert bool(compared(one, other).unknown) is (same is None)


def test_what_cannot_be_compared_is_named() -> None:
    """The leaves beside it are compared all the same."""
    one = {"logits": ONE, "cache": [Grumpy(), ONE]}
    found = compared(one, {"logits": ONE, "cache": [Grumpy(), ONE]})
    assert (found.same, found.unknown, found.compared) == (True, ("output['cache'][0] (a Grumpy)",), 2)
    assert compared(one, {"logits": ONE, "cache": [Grumpy(), OTHER]}).differs == "output['cache'][1]"
    assert compared(Answer(ONE), Answer(OTHER)).differs == "output.logits"


def test_an_object_that_holds_itself_ends() -> None:
    """Each object is looked at once, and nothing below some depth."""
    loop: list[Any] = [ONE]
    loop += [loop, loop]
    assert compared(loop, loop).compared == 1
    deep: Any = ONE
    for _ in range(2 * DEEPEST):
        deep = [deep]
    assert len(compared(deep, deep).unknown) == 1


@pytest.mark.parametrize(
    ("found", "wanted", "distance"),
    [
        pytest.param(ONE, ONE, 0.0, id="equal"),
        pytest.param(OTHER, ONE, 0.0, id="a rounding"),
        pytest.param(ONE + 1, ONE, 2.0, id="two standard deviations"),
        pytest.param((ONE, ONE + 0.5), (ONE, ONE), 1.0, id="the furthest leaf"),
        pytest.param(ONE + 1e3 * np.float32(2), ONE + np.float32(2e3), 0.0, id="a large mean"),
        pytest.param(np.array([1.5]), np.array([1.0]), 0.5, id="no spread"),
        pytest.param(np.array([0.5]), np.array([0.0]), 0.5, id="nothing but zero"),
        pytest.param(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), 0.0, id="NaN in the same place"),
        pytest.param(np.array([np.inf, 1.0]), np.array([np.inf, 1.0]), 0.0, id="infinity in the same place"),
        pytest.param(np.array([np.nan, 1.0]), np.array([2.0, 1.0]), math.inf, id="NaN"),
        pytest.param(np.array([2.0, 1.0]), np.array([np.nan, 1.0]), math.inf, id="no NaN"),
        pytest.param(ONE[:1], ONE, math.inf, id="another shape"),
        pytest.param(np.array([1, 5]), np.array([1, 3]), 2.0, id="integers"),
        pytest.param(np.array([1 + 1j]), np.array([1 + 0j]), 1.0, id="complex"),
        pytest.param(np.zeros((0, 2)), np.zeros((0, 2)), 0.0, id="nothing in it"),
        pytest.param({"a": "x"}, {"a": "x"}, 0.0, id="text"),
        pytest.param({"a": "x"}, {"a": "y"}, math.inf, id="another text"),
        pytest.param({"a": ONE}, (ONE,), math.inf, id="another structure"),
        pytest.param(Grumpy(), Grumpy(), 0.0, id="unknown"),
        pytest.param((), (), 0.0, id="none"),
    ],
)
def test_a_distance_is_a_share_of_the_spread(found: Any, wanted: Any, distance: float) -> None:
    """The largest difference by the standard deviation, roundings of the largest value left out."""
    assert apart(found, wanted) == pytest.approx(distance, rel=1e-5)


@pytest.mark.parametrize(
    ("distance", "text"),
    [(3.3, "by up to 330 % of their spread"), (0.0123, "by up to 1.2 % of their spread"), (math.inf, "in form")],
)
def test_a_distance_is_told_in_percent(distance: float, text: str) -> None:
    """As many digits as mean something."""
    assert off(distance) == text


def test_the_arrays_are_found_wherever_they_are() -> None:
    """By path, numbers only."""
    assert list(arrays({"a": (ONE, "text", None), "b": Answer(ONE, Grumpy())})) == [
        "output['a'][0]",
        "output['b'].logits",
    ]
