"""GLUE's metrics, batch by batch, and what is not defined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from ilit.errors import ConfigError, DataError, EvaluationError
from ilit.testing import MetricCase, MetricContract
from ilit_bert.metrics.glue import AccAndF1, Corr, Glue, Mcc, Pearson, Spearmanr
from ilit_bert.metrics.squad import Squad
from ilit_bert.tasks.table import TASKS

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 2, 50)
LOGITS = RNG.normal(size=(50, 2)) + np.eye(2)[LABELS]
GUESSES = LOGITS.argmax(1)
SCORES = RNG.uniform(0, 5, 50)
NOISY = (SCORES + RNG.normal(size=50)).reshape(-1, 1)


def fed(metric, outputs, labels, size=16):
    """The metric after all rows, in batches of ``size``."""
    for first in range(0, max(1, len(labels)), size):
        metric.update(outputs[first : first + size], labels[first : first + size])
    return metric.result()


def sklearn_f1(positive=1):
    """The F1 that scikit-learn gives."""
    return sklearn_metrics.f1_score(LABELS, GUESSES, pos_label=positive)


ACC = (GUESSES == LABELS).mean()
PEARSON, SPEARMAN = stats.pearsonr(NOISY[:, 0], SCORES)[0], stats.spearmanr(NOISY[:, 0], SCORES)[0]
FIGURES = [
    ("acc", lambda: Glue("sst2"), LOGITS, LABELS, ACC),
    ("f1", lambda: Glue("mrpc"), LOGITS, LABELS, sklearn_f1()),
    ("f1 of class 0", lambda: Glue("mrpc", positive=0), LOGITS, LABELS, sklearn_f1(0)),
    ("acc of mrpc", lambda: Glue("mrpc", "acc"), LOGITS, LABELS, ACC),
    ("acc_and_f1", lambda: Glue("qqp", metric="acc_and_f1"), LOGITS, LABELS, (ACC + sklearn_f1()) / 2),
    ("mcc", lambda: Glue("cola"), LOGITS, LABELS, sklearn_metrics.matthews_corrcoef(LABELS, GUESSES)),
    ("spearmanr", lambda: Glue("sts-b"), NOISY, SCORES, SPEARMAN),
    ("pearson", lambda: Glue("sts-b", "pearson"), NOISY, SCORES, PEARSON),
    ("corr", lambda: Glue("sts-b", "corr"), NOISY, SCORES, (PEARSON + SPEARMAN) / 2),
    ("AccAndF1", AccAndF1, LOGITS, LABELS, (ACC + sklearn_f1()) / 2),
    ("AccAndF1 of class 0", lambda: AccAndF1(positive=0), LOGITS, LABELS, (ACC + sklearn_f1(0)) / 2),
    ("Mcc", Mcc, LOGITS, LABELS, sklearn_metrics.matthews_corrcoef(LABELS, GUESSES)),
    ("Pearson", Pearson, NOISY[:, 0], SCORES, PEARSON),
    ("Spearmanr", Spearmanr, NOISY, SCORES, SPEARMAN),
    ("Corr", Corr, NOISY, SCORES, (PEARSON + SPEARMAN) / 2),
]


@pytest.mark.parametrize(("make", "outputs", "labels", "figure"), [r[1:] for r in FIGURES], ids=[r[0] for r in FIGURES])
def test_figures(make, outputs, labels, figure):
    """Each metric is the official scorer's, whatever the batch size."""
    assert fed(make(), outputs, labels) == pytest.approx(figure, abs=1e-12)
    assert fed(make(), outputs, labels, size=50) == pytest.approx(figure, abs=1e-12)


@pytest.mark.parametrize(
    "outputs",
    [LOGITS, (LOGITS,), {"logits": LOGITS}, LOGITS.astype(np.float16)],
    ids=["array", "tuple", "dict", "half"],
)
def test_logits_are_found(outputs):
    """One array, the only item of a tuple or ``logits`` of a mapping; labels may be a column."""
    metric = Glue("sst2")
    metric.update(outputs, LABELS.reshape(-1, 1))
    assert metric.result() == pytest.approx(ACC, abs=0.03)  # half floats may turn one of 50 rows


@pytest.mark.parametrize(
    ("metric", "guesses", "labels"),
    [("mcc", [1, 1, 1], [0, 1, 1]), ("mcc", [0, 1, 1], [1, 1, 1]), ("mcc", [1, 1], [1, 1]), ("f1", [0, 0], [0, 0])],
    ids=["mcc, one class predicted", "mcc, one class labelled", "mcc, one class at all", "f1, nothing positive"],
)
def test_degenerate_classes_score_zero(metric, guesses, labels):
    """Where the official scorer says 0, so do we, without a warning."""
    task = "cola" if metric == "mcc" else "mrpc"
    assert fed(Glue(task, metric), np.eye(2)[guesses], np.array(labels)) == 0.0


UNDEFINED = [
    ("constant predictions", Spearmanr, np.full((4, 1), 2.5), np.arange(4.0),
     "spearmanr: not defined, all 4 predictions are 2.5; check the model"),
    ("constant labels", Pearson, np.arange(4.0), np.full(4, 3.0),
     "pearson: not defined, all 4 labels are 3; evaluate on rows with different scores"),
    ("one row", Corr, np.array([1.0]), np.array([2.0]), "pearson: not defined on 1 row; evaluate on 2 or more"),
    ("no row", Mcc, LOGITS[:0], LABELS[:0], "mcc: no row was seen; the evaluation data is empty"),
    ("nan", Mcc, np.array([[np.nan, 1.0]] * 3), np.ones(3), "mcc: the model gave NaN for 3 of 3 rows of a batch"),
    ("nan of f1", lambda: Glue("mrpc"), np.array([[0.0, 1.0], [0.0, np.nan]]), np.array([1, 0]),
     "f1 of MRPC: the model gave NaN for 1 of 2 rows of a batch, which is no answer; mend the model"),
    ("nan of acc_and_f1", AccAndF1, np.array([[np.nan, np.nan]]), np.array([0]),
     "acc_and_f1: the model gave NaN for 1 of 1"),
    ("nan of a score", Pearson, np.array([np.nan, 1.0]), np.array([1.0, 2.0]),
     "pearson: the model gave NaN for 1 of 2"),
    ("infinity", lambda: Glue("sts-b"), np.array([np.inf, 1.0]), np.array([1.0, 2.0]),
     "spearmanr of STS-B: the model gave an infinite score, which no correlation takes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "outputs", "labels", "message"), [row[1:] for row in UNDEFINED], ids=[row[0] for row in UNDEFINED]
)
def test_undefined_figures_are_errors(make, outputs, labels, message):
    """No figure is ever NaN: what is not defined is said with its cause."""
    with pytest.raises(EvaluationError) as caught:
        fed(make(), outputs, labels)
    assert message in str(caught.value)


def test_infinite_logits_have_an_order():
    """A class ruled out by minus infinity is no reason to refuse an answer."""
    assert fed(Glue("sst2"), np.array([[-np.inf, 0.0], [np.inf, 0.0]]), np.array([1, 0])) == 1.0


def test_scores_close_together_are_still_scores():
    """Predictions that differ in the last digits only give a correlation and no warning."""
    assert Pearson.name == "pearson"
    assert -1 <= fed(Pearson(), 1e6 + 1e-9 * np.arange(8.0), np.arange(8.0)) <= 1


MISFITS = [
    ("label nan", Corr, np.ones(2), np.array([np.nan, 1.0]), "corr: 1 labels are NaN; leave such rows out of the data"),
    ("label beyond the classes", Mcc, LOGITS[:2], np.array([0, 2]),
     "mcc: label 2 is out of range, the model has 2 classes (0 to 1)"),
    ("label negative", Mcc, LOGITS[:2], np.array([0, -100]), "label -100 is out of range"),
    ("label a score", Mcc, LOGITS[:2], np.array([0, 0.5]), "label 0.5 is out of range"),
    ("fewer labels", lambda: Glue("mrpc"), LOGITS[:3], LABELS[:2], "f1 of MRPC: 2 labels for outputs of shape (3, 2)"),
    ("scores for classes", Mcc, NOISY[:3], LABELS[:3], "mcc: outputs of shape (3, 1); it takes (rows, 2 or more"),
    ("classes for scores", Corr, LOGITS[:3], SCORES[:3], "corr: 3 labels for outputs of shape (3, 2); it takes"),
    ("no logits", Mcc, {"start_logits": LOGITS}, LABELS, "the model's outputs are start_logits, without 'logits'"),
    ("two arrays", Mcc, (LOGITS, LOGITS), LABELS, "mcc: the model gave 2 outputs; it takes one array"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "outputs", "labels", "message"), [row[1:] for row in MISFITS], ids=[row[0] for row in MISFITS]
)
def test_labels_that_do_not_fit_are_errors(make, outputs, labels, message):
    """Labels and outputs that cannot belong together are refused with both."""
    with pytest.raises(DataError) as caught:
        make().update(outputs, labels)
    assert message in str(caught.value)


def test_options_are_checked():
    """An unknown task or metric, and a task of the other family, are refused."""
    with pytest.raises(ConfigError, match="task 'mrcp': there is no such task"):
        Glue("mrcp")
    with pytest.raises(ConfigError, match="metric 'spearmanr': MRPC has no such metric; it has acc, f1, acc_and_f1"):
        Glue("mrpc", "spearmanr")
    with pytest.raises(ConfigError, match=r"SQuAD-v2\.0 is no GLUE task; use the metric 'squad'"):
        Glue("squad2")
    with pytest.raises(ConfigError, match="MRPC is no SQuAD task; use the metric 'glue'"):
        Squad("mrpc", "", "")


def test_every_official_metric_can_be_made():
    """Each metric that a GLUE task names has a formula."""
    for task in TASKS:
        for name in task.metrics if task.columns else ():
            assert Glue(task.name, name).higher_is_better


class TestGlueMetrics(MetricContract):
    @pytest.fixture(params=[row[0] for row in FIGURES])
    def case(self, request):
        make, outputs, labels, figure = next(row[1:] for row in FIGURES if row[0] == request.param)
        return MetricCase(make, outputs, labels, figure, misfit=(outputs, labels[:2]))


def test_what_is_reachable():
    """Known where a right row is always best; MCC only of models with two classes."""
    three = np.eye(3)[LABELS]
    for make, outputs, labels, known in (
        (lambda: Glue("mrpc"), LOGITS, LABELS, True),
        (lambda: Glue("mnli"), three, LABELS, True),
        (Mcc, LOGITS, LABELS, True),
        (Mcc, three, LABELS, False),
        (Corr, NOISY, SCORES, False),
    ):
        metric = make()
        metric.update(outputs[:5], labels[:5])
        assert (metric.reachable(labels[5:]) is not None) == known


def test_titles_say_which_metric_it_is():
    """Messages name the metric that is really computed, not the class that computes several."""
    assert [Glue("MRPC").title, Glue("MRPC", "acc_and_f1").title, Glue("CoLA").title] == ["f1", "acc_and_f1", "mcc"]
