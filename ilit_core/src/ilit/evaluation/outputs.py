"""Two sets of model outputs beside each other, leaf by leaf: the same to the last bit, or how far apart.

Outputs come as ``Adapter.outputs`` gives them: arrays in mappings, sequences, dataclasses and plain objects, nested in
any way. What is none of these (numbers, text, None) is compared by value; what has no value of its own, such as an
open file, cannot be compared, and is named instead.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROOT = "output"  # where each leaf's path begins: ``output['logits']``, ``output[1].hidden``
DEEPEST = 64  # levels; nobody answers in deeper ones, and Python's own limit is near
NUMERIC = "fciub"  # dtype kinds that have distances
# Sums in another order differ by a few roundings of their largest term, whatever the spread of the outputs.
_EPSILONS = 8
# The distance that is put down to rounding, of the outputs' spread. The same rows go through the same layers, so mostly
# not a bit differs; kernels that sum in another order differ by some 1e-6, what a copy does wrong by percents.
ROUNDING = 1e-5
_PLAIN = (bool, int, float, complex, np.generic)


@dataclass(frozen=True)
class Comparison:
    """A comparison of two sets of outputs, bit by bit.

    Attributes:
        differs: path of the first leaf that is not the same; empty where none is.
        unknown: paths of the leaves that cannot be compared, each with its class: ``output['cache'] (a Cache)``.
        compared: leaves that were compared.
    """

    differs: str = ""
    unknown: tuple[str, ...] = ()
    compared: int = 0

    @property
    def same(self) -> bool:
        """True where no leaf that can be compared differs."""
        return not self.differs


Pair = tuple[str, Any, Any]


def identical(one: Any, other: Any) -> bool:
    """Return whether two outputs agree in structure, shape, dtype and every bit, as far as they can be compared.

    Bits rather than values: a NaN equals the same NaN, and 0.0 differs from -0.0.
    """
    return compared(one, other).same


def compared(one: Any, other: Any) -> Comparison:
    """Return the comparison of two outputs, bit by bit, up to the first leaf that differs."""
    unknown, count = [], 0
    for path, a, b in _pairs(one, other):
        verdict = _same(a, b)
        if verdict is None:
            unknown.append(f"{path} (a {type(a).__name__})")
        elif not verdict:
            return Comparison(path, tuple(unknown), count + 1)
        else:
            count += 1
    return Comparison("", tuple(unknown), count)


def apart(found: Any, wanted: Any) -> float:
    """Return the distance of outputs: the largest difference as a share of the spread, of the leaf furthest off.

    The spread is the standard deviation of the leaf's values in ``wanted``. What float32 rounds off the largest of
    them, 8 times over, is no difference: it may be more than the spread of outputs that hardly vary. 0
    where nothing differs; ``inf`` where structure, a shape, text or which values are finite differ.
    """
    return max((_distance(a, b) for _, a, b in _pairs(found, wanted)), default=0.0)


def off(distance: float) -> str:
    """Return a distance in words: ``by up to 113 % of their spread``."""
    if math.isinf(distance):
        return "in form"
    percent = f"{distance * 100:.2g}" if distance < 0.1 else f"{distance * 100:.0f}"
    return f"by up to {percent} % of their spread"


def arrays(outputs: Any) -> dict[str, NDArray[Any]]:
    """Return the leaves that are arrays of numbers, by their paths."""
    found = {path: _array(leaf) for path, leaf, _ in _pairs(outputs, outputs)}
    return {path: array for path, array in found.items() if array is not None and array.dtype.kind in NUMERIC}


def _pairs(one: Any, other: Any) -> Iterator[Pair]:
    """Yield the leaves of both beside each other, by path; where the structures part, the two subtrees."""
    met: dict[tuple[int, int], tuple[Any, Any]] = {}  # holds what it names, so that no other object gets its id

    def walk(path: str, one: Any, other: Any, depth: int) -> Iterator[Pair]:
        ours, theirs = _parts(one), _parts(other)
        if ours is None or theirs is None or _kind(one) != _kind(other) or list(ours) != list(theirs):
            yield path, one, other
        elif depth > DEEPEST:
            yield path, object(), object()
        elif (id(one), id(other)) not in met:  # else an object that holds itself, or stands in two places
            met[id(one), id(other)] = (one, other)
            for step, part in ours.items():
                yield from walk(path + step, part, theirs[step], depth + 1)

    return walk(_ROOT, one, other, 0)


def _kind(value: Any) -> str:
    """Return the kind of a container: a mapping of any class is one kind, lists and tuples are another."""
    if isinstance(value, Mapping):
        return "mapping"
    return "sequence" if isinstance(value, tuple | list) else type(value).__name__


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of a value, by the step of the path that leads to each; None for a leaf."""
    if isinstance(value, Mapping):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, tuple | list):
        return {f"[{number}]": part for number, part in enumerate(value)}
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return {f"[{number}]": part for number, part in enumerate(value.ravel().tolist())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f".{field.name}": getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if _has_no_value(value):
        return {f".{name}": part for name, part in vars(value).items()} or None
    return None


def _has_no_value(value: Any) -> bool:
    """Whether an object is compared by identity alone, but has attributes that may be compared."""
    kind: Any = type(value)
    by_identity = kind.__eq__ is object.__eq__ and not hasattr(kind, "__array__")
    with_parts = isinstance(value, SimpleNamespace) or (by_identity and not isinstance(value, Enum))
    return with_parts and not callable(value) and hasattr(value, "__dict__")


def _same(one: Any, other: Any) -> bool | None:
    """Return whether two leaves are the same; None where that cannot be known."""
    if _parts(one) is not None or _parts(other) is not None:
        return False  # the structures part here: other keys, another length, or a leaf on one side only
    a, b = _array(one), _array(other)
    if a is not None and b is not None:
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    kind: Any = type(one)
    if kind.__name__ != type(other).__name__:
        return False
    if kind.__eq__ is object.__eq__ and not isinstance(one, Enum | NoneType):
        return None
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - an __eq__ of the user's that has no answer
        return None


def _array(leaf: Any) -> NDArray[Any] | None:
    """Return a leaf as an array without objects; None where it is no such array."""
    if not isinstance(leaf, _PLAIN) and not hasattr(leaf, "__array__"):
        return None
    try:
        array = np.asarray(leaf)
    except Exception:  # noqa: BLE001 - a tensor of another device or layout
        return None
    return None if array.dtype.hasobject else array


def _distance(found: Any, wanted: Any) -> float:
    a, b = _array(found), _array(wanted)
    if a is None or b is None or not {a.dtype.kind, b.dtype.kind} <= set(NUMERIC):
        return math.inf if _same(found, wanted) is False else 0.0
    if a.shape != b.shape:
        return math.inf
    return _apart(a, b)


def _apart(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the distance of two arrays of one shape, as ``apart``."""
    precision = np.finfo(wanted.dtype if wanted.dtype.kind in "fc" else np.float64).eps
    wide = np.complex128 if "c" in (found.dtype.kind, wanted.dtype.kind) else np.float64
    a, b = found.astype(wide).ravel(), wanted.astype(wide).ravel()
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return math.inf
    a, b = a[finite], b[finite]
    if not b.size:
        return 0.0
    largest = float(np.abs(b).max())
    beyond = float(np.abs(a - b).max()) - _EPSILONS * float(precision) * largest
    return max(0.0, beyond) / (float(b.std()) or largest or 1.0)
