"""Weighted formulas are the official ones of repeated units, and MCC is highest where all is right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ilit_bert.metrics.formulas import formula

RNG = np.random.default_rng(4)
CLASSES = RNG.integers(0, 3, (2, 60))
TWO = RNG.integers(0, 2, (2, 60))
SCORES = RNG.integers(0, 11, (2, 60)) / 2  # with ties, as STS-B's

SIDES = {
    "acc": CLASSES,
    "f1": TWO,
    "acc_and_f1": TWO,
    "mcc": TWO,
    "mcc of three classes": CLASSES,
    "pearson": SCORES,
    "spearmanr": SCORES,
    "corr": SCORES,
}


@pytest.mark.parametrize("name", SIDES)
def test_weights_repeat_units(name):
    """With whole weights each formula is the official library's on the repeated units; only proportions matter."""
    found, (ours, truth) = formula(name.split()[0]), SIDES[name]
    weights = RNG.integers(0, 5, (20, 60)).astype(np.float64)
    wanted = [found.official(np.repeat(ours, row), np.repeat(truth, row)) for row in weights.astype(int)]
    assert found.weighted(ours, truth, weights) == pytest.approx(wanted, abs=1e-12)
    assert found.weighted(ours, truth, weights * 0.3) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", ["f1", "acc_and_f1"])
def test_the_positive_class_counts(name):
    """F1 is about the class asked for."""
    found, (ours, truth) = formula(name, positive=0), TWO
    assert found.weighted(ours, truth, np.ones((1, 60)))[0] == pytest.approx(found.official(ours, truth))
    assert found.official(ours, truth) != formula(name).official(ours, truth)


DEGENERATE = {
    "mcc, one class predicted": ("mcc", [1, 1, 1], [0, 1, 1], 0.0),
    "mcc, one class at all": ("mcc", [1, 1, 1], [1, 1, 1], 0.0),
    "f1, nothing positive": ("f1", [0, 0], [0, 0], 0.0),
    "pearson, constant": ("pearson", [0.1, 0.1, 0.1], [1.0, 2.0, 3.0], np.nan),
    "spearmanr, constant": ("spearmanr", [1.0, 2.0, 3.0], [0.1, 0.1, 0.1], np.nan),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_units(name):
    """Classes that tell nothing score 0 as officially; a correlation that is not defined is NaN, without a warning."""
    which, ours, truth, wanted = DEGENERATE[name]
    found = formula(which).weighted(np.array(ours), np.array(truth), np.full((2, len(ours)), 0.7))
    assert found == pytest.approx([wanted, wanted], nan_ok=True)


@pytest.mark.parametrize("name", ["acc", "f1", "acc_and_f1", "mcc"])
def test_a_right_prediction_never_lowers_it(name):
    """What ``reachable`` rests on, by brute force: every answer to every labelling of five rows of two classes."""
    found, answers = formula(name), [np.array(each) for each in itertools.product((0, 1), repeat=5)]
    assert found.best_when_right in ("always", "two classes")
    for truth in answers:
        scores = {tuple(one): found.weighted(one, truth, np.ones((1, 5)))[0] for one in answers}
        for one in answers:
            for row in np.flatnonzero(one != truth):
                righted = one.copy()
                righted[row] = truth[row]
                assert scores[tuple(righted)] >= scores[tuple(one)] - 1e-12


def test_mcc_of_three_classes_promises_nothing():
    """There a right prediction can lower it: of 13 rows of class 0, all taken for class 1, one is put right."""
    truth = np.repeat([0, 2], [13, 2])
    before = np.repeat([1, 2], [13, 2])
    after = np.array([0, *before[1:]])
    ones = np.ones((1, 15))
    assert formula("mcc").weighted(after, truth, ones)[0] < formula("mcc").weighted(before, truth, ones)[0] - 0.05
    assert formula("mcc").best_when_right == "two classes"
