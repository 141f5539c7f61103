"""The bound of a metric's drop by resampling the units that both models were scored on: a paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilit.evidence.units import PairedUnits
from ilit.metric import PairedMetric

Drops = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]

_RESAMPLES = 20_000
_FEWEST_RESAMPLES = 2_000
_DRAWS = 3_000_000  # weights in all: some tenths of a second, most of it in the metric
_BLOCK = 1_000_000  # weights held at a time: 8 MB
_TAIL = 20  # resamples beyond a quantile, for it to be read off rather than extrapolated
_CLASSES = 12  # the most frequent classes stand for all of them
_EXTREMES = 32


def bootstrap_upper(
    units: PairedUnits, *, relative: bool, confidence: float, rng_seed: int, resamples: int = _RESAMPLES
) -> float:
    """Return a one-sided upper bound of the drop from float32 to INT8, both scored on the same units.

    Bayesian bootstrap (Rubin 1981, Annals of Statistics 9: 130-134): a resample gives the units weights from a flat
    Dirichlet law, the same ones for both models. One unit is added to those seen, the one that harms INT8 most. This
    matters because what tells the models apart are a few units, perhaps none, and the data alone would then say that
    there is nothing to fear: percentile, basic and BCa intervals all fail there. With it, the bound for units that
    are only lost is exactly the binomial one of Clopper and Pearson (1934, Biometrika 26: 404-413), whose upper limit
    is a quantile of Beta(lost + 1, units - lost).

    Class numbers are first collapsed into the distinct (label, float32, INT8) cells, whose weights are Gamma variates
    by their counts. Memory is bounded whatever the number of units. Where cells or units are many, fewer resamples
    are drawn, 2,000 at least; a quantile with fewer than 20 of them beyond it is extrapolated with an exponential
    tail, which is the heavier side of what sums of Gamma variates have.

    Args:
        units: both models' predictions. A resample on which the metric is NaN counts as the worst of the others.
        relative: the drop is a share of the resample's own float32 score.
        confidence: of the bound, such as 0.95.
        rng_seed: the same seed gives the same bound.
        resamples: drawn at most.

    Returns:
        The bound, in the metric's unit or as a share; NaN where the metric is defined on no resample.
    """
    drops = _drops_of(units.metric, relative)
    cells, counts = _cells(units)
    harms = _class_harms(cells, counts) if units.are_classes else _harms(cells)
    cells = np.column_stack([cells, _worst_unit(cells, counts, harms, drops)])
    shape = np.append(counts, 1).astype(np.float64)
    rng = np.random.default_rng(rng_seed)
    blocks = _block_sizes(len(shape), resamples)
    return upper_quantile(np.concatenate([drops(cells, _weights(rng, shape, size)) for size in blocks]), 1 - confidence)


def upper_quantile(values: NDArray[np.float64], tail: float) -> float:
    """Return the value that a share of ``tail`` of the law lies beyond, of which ``values`` are draws.

    NaN and infinity count as the greatest finite value. Read off where at least 20 draws lie beyond; else the
    quantiles with 20 and 100 draws beyond are continued, linear in the logarithm of the tail.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return math.nan
    found = np.where(finite, values, values[finite].max())
    if tail * len(found) >= _TAIL:
        return float(np.quantile(found, 1 - tail, method="higher"))
    near, nearer = (min(0.5, count / len(found)) for count in (_TAIL, 5 * _TAIL))
    far, close = (float(np.quantile(found, 1 - level, method="higher")) for level in (near, nearer))
    if near == nearer:
        return far
    return far + (far - close) * math.log(near / tail) / math.log(nearer / near)


def _drops_of(metric: PairedMetric, relative: bool) -> Drops:
    """Return the function from cells (3, cells) and weights (resamples, cells) to the drops (resamples,)."""

    def drops(cells: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
        ours, theirs = metric.scores(cells[0], cells[2], weights), metric.scores(cells[1], cells[2], weights)
        lost = ours - theirs if metric.higher_is_better else theirs - ours
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(lost / np.abs(ours) if relative else lost, np.float64)

    return drops


def _cells(units: PairedUnits) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct (float32, INT8, label) cells (3, cells) and their counts (cells,); of scores, every unit."""
    columns = np.stack([units.float_predictions, units.int8_predictions, units.labels])
    if units.are_classes:
        return np.unique(columns, axis=1, return_counts=True)
    return columns, np.ones(columns.shape[1], np.int64)


def _block_sizes(cells: int, resamples: int) -> list[int]:
    """Return the numbers of resamples drawn at a time, which bound the memory; together at most ``resamples``."""
    count = min(resamples, max(_FEWEST_RESAMPLES, _DRAWS // cells))
    block = max(1, _BLOCK // cells)
    return [block] * (count // block) + ([count % block] if count % block else [])


def _weights(rng: np.random.Generator, shape: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return weights (size, cells) in proportions of a Dirichlet law; only proportions matter to ``scores``."""
    if (shape == 1).all():
        return rng.standard_exponential((size, len(shape)))
    return rng.standard_gamma(shape, (size, len(shape)))


def _worst_unit(cells: NDArray[Any], counts: NDArray[Any], harms: NDArray[Any], drops: Drops) -> NDArray[Any]:
    """Return the column of ``harms`` (3, harms) that raises the drop most when it is seen once more."""
    weights = np.hstack([np.broadcast_to(counts, (harms.shape[1], len(counts))), np.eye(harms.shape[1])])
    raised = drops(np.column_stack([cells, harms]), weights)
    worst: NDArray[Any] = harms[:, int(np.argmax(np.where(np.isnan(raised), -np.inf, raised)))]
    return worst


def _class_harms(cells: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return units (3, harms) that float32 gets right and INT8 wrong, for each two of the classes seen."""
    classes, place = np.unique(cells, return_inverse=True)
    frequent = np.bincount(place.reshape(-1), np.tile(counts, 3)).argsort(kind="stable")[::-1][:_CLASSES]
    numbers = [int(number) for number in classes[frequent]]
    if len(numbers) == 1:
        numbers.append(1 if numbers[0] == 0 else 0)  # any other class: whatever else a model may say
    pairs = [(right, wrong, right) for right in numbers for wrong in numbers if wrong != right]
    return np.transpose(np.array(pairs, np.int64))


def _harms(cells: NDArray[Any]) -> NDArray[Any]:
    """Return the units (3, harms) that INT8 changed most; where it changed none, every swap of the extremes."""
    changed = np.abs(cells[0] - cells[1])
    if changed.any():
        return np.asarray(cells[:, np.argsort(-changed, kind="stable")[:_EXTREMES]])
    ends = [int(cells[0].argmin()), int(cells[0].argmax())]
    return np.stack([[cells[0, own], cells[0, other], cells[2, own]] for own in ends for other in ends], axis=1)
