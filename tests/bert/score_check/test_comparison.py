"""Promises of ``ilit_bert.score_check.comparison``: figures of constant answers, chance and label orders."""

from __future__ import annotations

import math

import numpy as np
import pytest
import transformers

from ilit_bert.metrics.glue import Glue
from ilit_bert.score_check.comparison import Z_1_IN_20, Comparison, compare, required_z
from ilit_bert.tasks.table import find_task


def compared(task, predictions, labels, metric=None):
    """Return the comparison of a metric's score over these rows."""
    chosen, found = find_task(task), Glue(task, metric)
    config = transformers.BertConfig(num_labels=len(chosen.labels) or 1)
    found.update(np.eye(config.num_labels)[predictions] if chosen.labels else predictions, labels)
    return compare(chosen, found, found.result(), config)


LABELS = np.repeat([0, 1], [40, 60])


def test_the_best_constant_answer_is_the_commonest_label():
    """Its score, its name and the rows it gets wrong are counted on the same rows."""
    found = compared("sst2", LABELS, LABELS)
    assert (found.score, found.rows, found.constant, found.answer, found.others) == (1.0, 100, 0.6, "positive", 40)
    assert found.beats_constant
    assert found.order == ()


def test_a_constant_answer_does_not_beat_itself():
    """Predictions of one class agree with labels as chance does."""
    found = compared("sst2", np.ones(100, int), LABELS)
    assert (found.score, found.z, found.beats_constant) == (0.6, 0.0, False)


def test_agreement_of_two_classes_is_the_coefficient_of_matthews():
    """Its z-score is the coefficient times the root of n - 1."""
    predictions = np.where(np.arange(100) % 7 == 0, 1 - LABELS, LABELS)
    metric = Glue("CoLA")
    metric.update(np.eye(2)[predictions], LABELS)
    assert compared("CoLA", predictions, LABELS).z == pytest.approx(metric.result() * math.sqrt(99))


def test_the_order_that_is_right_most_often():
    """Labels read the wrong way round are told by what each id stands for, with score and significance."""
    found = compared("sst2", 1 - LABELS, LABELS)
    assert (found.order, found.reordered) == (("positive", "negative"), 1.0)
    assert found.order_z == pytest.approx(10.0)  # 100 rows gained, none lost
    assert found.z < -Z_1_IN_20


@pytest.mark.parametrize(("sign", "reversed_"), [(1, False), (-1, True)])
def test_correlations_have_no_constant_answer(sign, reversed_):
    """Scores are compared with chance alone, and may be reversed."""
    scores = np.linspace(0, 5, 30)
    found = compared("stsb", sign * scores, scores, "pearson")
    assert (found.constant, found.others, found.is_reversed) == (None, 30, reversed_)
    assert found.z == pytest.approx(sign * math.sqrt(29))


def test_few_rows_require_less():
    """A good model falls short of the usual z-score on a few rows, so less is required; never nothing."""
    required = [required_z(rows, Z_1_IN_20) for rows in (1, 5, 40, 53, 1000)]
    assert required == sorted(required)
    assert 0 < required[0] < required[2] < required[3] == required[4] == Z_1_IN_20


def test_a_score_equal_to_the_constant_but_for_rounding():
    """Sums in another order are no better a score."""
    assert not Comparison(0.6 + 1e-12, 10, 0.6, "yes", 4, 0.0).beats_constant
    assert Comparison(0.61, 10, 0.6, "yes", 4, 0.0).beats_constant
