"""The paired bootstrap bounds drops, also where hardly a unit tells the models apart."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ilit.evidence.bootstrap import bootstrap_upper, upper_quantile
from ilit.evidence.units import PairedUnits
from ilit.metric_units import share_right

RNG = np.random.default_rng(7)
N = 400
LABELS = RNG.integers(0, 2, N).astype(np.uint8)
RIGHT = LABELS.copy()
RIGHT[:40] ^= 1


def mean(predictions: Any, labels: Any, weights: Any) -> Any:
    """The mean error."""
    return weights @ (predictions - labels) / weights.sum(axis=1)


def bound(ours: Any, theirs: Any, labels: Any = LABELS, scores: Any = share_right, **options: Any) -> float:
    """The bound with what the options leave open."""
    metric: Any = SimpleNamespace(scores=scores, higher_is_better=options.pop("higher_is_better", True))
    given = {"relative": False, "confidence": 0.95, "rng_seed": 1, **options}
    return bootstrap_upper(PairedUnits(ours, theirs, labels, metric, math.nan), **given)


def with_lost(count: int) -> Any:
    """Predictions in which so many of the right ones are wrong."""
    lost = RIGHT.copy()
    lost[40 : 40 + count] ^= 1
    return lost


def clopper_pearson(lost: int, units: int, confidence: float) -> float:
    """The share of lost units at which as few as those seen come up just often enough."""
    low, high = lost / units, 1.0
    for _ in range(60):
        share = (low + high) / 2
        seen = sum(math.comb(units, k) * share**k * (1 - share) ** (units - k) for k in range(lost + 1))
        low, high = (share, high) if seen > 1 - confidence else (low, share)
    return high


@pytest.mark.parametrize("lost", [0, 1, 5, 20], ids="{} lost".format)
@pytest.mark.parametrize("confidence", [0.9, 0.975])
def test_units_that_are_only_lost_get_the_binomial_bound(lost: int, confidence: float) -> None:
    """Perfect agreement proves no more than its number of rows can, and so on."""
    found = bound(RIGHT, with_lost(lost), confidence=confidence)
    assert found == pytest.approx(clopper_pearson(lost, N, confidence), rel=0.03)


def test_a_relative_drop_is_a_share_of_the_resamples_own_baseline() -> None:
    """The baseline is 0.9, so the bound grows by about 1 / 0.9."""
    plain, relative = (bound(RIGHT, with_lost(8), relative=flag) for flag in (False, True))
    assert relative == pytest.approx(plain / 0.9, rel=0.05)


def test_an_error_that_rises_is_a_drop() -> None:
    """For metrics where lower is better the drop is INT8's minus float32's."""
    errors, none = RNG.uniform(0.5, 1, N).astype(np.float32), np.zeros(N, np.float32)
    worse = errors + RNG.uniform(0, 0.2, N).astype(np.float32)
    assert 0.1 < bound(errors, worse, none, mean, higher_is_better=False) < 0.12
    assert -0.1 < bound(worse, errors, none, mean, higher_is_better=False) < -0.08


def test_scores_that_are_all_alike_prove_little() -> None:
    """Where INT8 changed no score at all, one changed from best to worst is still reckoned with."""
    scores, none = np.linspace(0, 1, N, dtype=np.float32), np.zeros(N, np.float32)
    assert bound(scores, scores, none, mean) == pytest.approx(-math.log(0.05) / N, rel=0.1)


def test_the_seed_decides() -> None:
    """The same seed gives the same bound, another one nearly the same."""
    first, second = (bound(RIGHT, with_lost(9), rng_seed=seed) for seed in (1, 2))
    assert first == bound(RIGHT, with_lost(9), rng_seed=1)
    assert first != second
    assert first == pytest.approx(second, rel=0.05)


def test_classes_and_scores_agree() -> None:
    """Collapsing units into cells changes the cost, not the law: the bound from floats is the same within noise."""
    floats = [side.astype(np.float32) for side in (RIGHT, with_lost(12), LABELS)]
    assert bound(*floats) == pytest.approx(bound(RIGHT, with_lost(12)), rel=0.05)


def test_memory_is_bounded() -> None:
    """However many units there are, ``scores`` is never handed more than about a million weights."""
    handed = []

    def watched(predictions: Any, labels: Any, weights: Any) -> Any:
        handed.append(weights.size)
        return mean(predictions, labels, weights)

    scores = RNG.normal(size=30_000).astype(np.float32)
    bound(scores, scores - np.float32(0.01), np.zeros(30_000, np.float32), watched, resamples=100)
    assert max(handed) <= 1_100_000
    assert sum(handed) >= 2 * 100 * 30_000


def test_resamples_without_a_score_count_as_the_worst() -> None:
    """A metric that is undefined on some resamples is not bounded by those on which it is defined."""

    def often_undefined(predictions: Any, labels: Any, weights: Any) -> Any:
        scores = share_right(predictions, labels, weights)
        return np.where(np.arange(len(scores)) % 10 == 0, np.nan, scores)

    sound, shaky = bound(RIGHT, with_lost(9)), bound(RIGHT, with_lost(9), scores=often_undefined)
    assert shaky > sound * 1.2
    assert math.isnan(bound(RIGHT, RIGHT, scores=lambda *_: np.full(len(_[2]), np.nan)))


def test_quantiles_beyond_the_draws_are_extrapolated() -> None:
    """Of an exponential law, 2,000 draws give the quantile at one in a million to some per cent."""
    draws = np.random.default_rng(5).standard_exponential(2_000)
    assert upper_quantile(draws, 0.05) == pytest.approx(-math.log(0.05), rel=0.1)
    assert upper_quantile(draws, 1e-6) == pytest.approx(-math.log(1e-6), rel=0.15)
    tails = [upper_quantile(draws, tail) for tail in (0.5, 0.1, 0.01, 0.009, 1e-3, 1e-9)]
    assert tails == sorted(tails)


@pytest.mark.parametrize("classes", [1, 2, 40], ids="{} classes".format)
def test_any_number_of_classes(classes: int) -> None:
    """One class only, and more than are tried as the worst, are bounded as well."""
    labels = (np.arange(N) % classes).astype(np.int64)
    assert 0 < bound(labels, labels, labels) < 0.02
