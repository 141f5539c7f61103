"""Promises of ``ilit_bert.score_check.objection``: a score of constant answers, chance or wrong labels is no score."""

from __future__ import annotations

import numpy as np
import pytest
import transformers

from ilit_bert.metrics.glue import Glue
from ilit_bert.metrics.squad import Squad
from ilit_bert.metrics.table import tuning_metric
from ilit_bert.score_check.objection import objection
from ilit_bert.tasks.table import find_task


def labels_of(counts, seed=1):
    """Official label ids, shuffled, so many of each."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def answers(labels, right=0.9, seed=2):
    """Answers of which about this share is right, the others any other class."""
    rng, classes = np.random.default_rng(seed), labels.max() + 1
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < right, labels, wrong)


def judged(task, predictions, labels, metric=None, names=(), outputs=None):
    """What is said of these answers, given in the checkpoint's ids, and the score."""
    chosen = find_task(task)
    config = transformers.BertConfig(num_labels=outputs or len(chosen.labels))
    if names:
        config.id2label = dict(enumerate(names))
    model = transformers.BertForSequenceClassification  # only the configuration is looked at
    holder = type("Model", (), {"config": config, "forward": model.forward})()
    ((_, options),) = tuning_metric(chosen, holder, None, "", "", metric).items()
    judge = Glue(**options)
    judge.update(np.eye(config.num_labels)[predictions], labels)
    score = judge.result()
    return objection(chosen, judge, score, config), score


ALL = [
    ("sst2", "acc"), ("mrpc", "acc"), ("mrpc", "f1"), ("mrpc", "acc_and_f1"), ("qqp", "f1"), ("qqp", "acc_and_f1"),
    ("cola", "mcc"), ("mnli", "acc"), ("qnli", "acc"), ("rte", "acc"), ("wnli", "acc"),
]  # fmt: skip


def balance(task):
    """Numbers of rows a label, not quite even."""
    return (90, 70, 60) if task == "mnli" else (80, 140)


@pytest.mark.parametrize(("task", "metric"), ALL)
def test_nothing_is_said_of_a_model_that_knows(task, metric):
    """A model that is right on nine rows of ten passes without a word, on all its metrics."""
    labels = labels_of(balance(task))
    assert judged(task, answers(labels), labels, metric)[0] is None


@pytest.mark.parametrize(("task", "metric"), ALL)
@pytest.mark.parametrize("right", [0.9, 1.0])
def test_labels_in_another_order(task, metric, right):
    """Answers in another order of labels are grave, a perfect one's included; order and score are told."""
    labels = labels_of(balance(task))
    turned = np.asarray([1, 2, 0] if task == "mnli" else [1, 0])
    predictions = turned[answers(labels, right)]
    found, score = judged(task, predictions, labels, metric)
    should, _ = judged(task, answers(labels, right), labels, metric)
    names = find_task(task).label_names
    order = [names[list(turned).index(k)] for k in range(len(names))]

    assert should is None
    assert found.grave
    assert f"float32 scores {metric} {score:.4f} on {len(labels)} examples, no better than " in found.text
    assert f"another order: with the checkpoint's ids read as {', '.join(order)} it would be " in found.text
    assert found.text.endswith(f"so give --labels {','.join(order)}")


def test_the_score_of_the_better_order_is_told():
    """It is the metric's own on answers read so, f1 of the class it is about included."""
    labels = labels_of((80, 140))
    predictions = answers(labels)
    _, right = judged("mrpc", predictions, labels, "f1")

    assert f"it would be {right:.4f}" in judged("mrpc", 1 - predictions, labels, "f1")[0].text


def test_order_among_named_labels():
    """Where the configuration names labels wrongly, the right order is told in the checkpoint's own ids."""
    labels = labels_of((90, 70, 60))  # official: contradiction, entailment, neutral
    named = ("entailment", "neutral", "contradiction")
    in_named_ids = np.asarray([2, 0, 1])
    found, _ = judged("mnli", answers(labels), in_named_ids[labels], names=named)

    assert found.text.endswith("--labels contradiction,entailment,neutral")


def test_two_of_three_labels_changed_places():
    """Where one label is right and frequent, the score may exceed a constant's; the order is told all the same."""
    labels = labels_of((40, 60, 100))
    swapped = np.asarray([1, 0, 2])[labels]
    swapped[np.flatnonzero(labels == 1)[:10]] = 1
    found, score = judged("mnli", swapped, labels)

    assert score == 0.55
    assert found.grave
    assert "less than in another order of the labels" in found.text
    assert found.text.endswith("--labels entailment,contradiction,neutral")


@pytest.mark.parametrize(("task", "metric"), ALL)
@pytest.mark.parametrize("always", ["first", "last"])
def test_a_constant_answer_is_no_score(task, metric, always):
    """A model that answers alike for every row is grave whichever class it answers, and no order is to blame."""
    labels = labels_of(balance(task))
    predictions = np.full_like(labels, 0 if always == "first" else labels.max())
    found, _ = judged(task, predictions, labels, metric)

    assert found.grave
    assert "another order" not in found.text
    assert f"check that the checkpoint was fine-tuned for {find_task(task).name}, the order of its labels" in found.text


@pytest.mark.parametrize(
    ("task", "metric", "words"),
    [
        ("sst2", "acc", "no better than always answering 'positive' (0.7000)"),
        ("mrpc", "f1", "no better than always answering 'equivalent' (0.8235)"),
        ("mrpc", "acc_and_f1", "no better than always answering 'equivalent' (0.7618)"),
        ("cola", "mcc", "no better than chance"),
    ],
)
def test_the_best_constant_answer_is_the_metrics_own(task, metric, words):
    """What is best depends on the metric: of 70 % positive rows F1 is 2 * 0.7 / 1.7."""
    labels = labels_of((60, 140))
    assert words in judged(task, np.ones_like(labels), labels, metric)[0].text


def test_constant_of_few_positive_rows():
    """Answering the rarer class is the best constant for F1, though not for accuracy."""
    labels = labels_of((160, 40))
    found, _ = judged("mrpc", np.zeros_like(labels), labels, "f1")
    assert "no better than always answering 'equivalent' (0.3333)" in found.text
    found, _ = judged("mrpc", np.zeros_like(labels), labels, "acc")
    assert "no better than always answering 'not_equivalent' (0.8000)" in found.text


def tied(rows):
    """Labels of which a fifth is rare, and answers as often right as always answering the common one."""
    labels = np.repeat([0, 1], [rows * 4 // 5, rows // 5])
    predictions = labels.copy()
    half = rows // 10
    predictions[:half], predictions[-half:] = 1, 0
    return predictions, labels


def test_a_tie_on_few_rows_is_told_and_passes():
    """On few rows a model that tells the classes apart may tie with a constant answer; on many it may not."""
    few, _ = judged("sst2", *tied(100))
    assert not few.grave
    assert "no better than always answering 'negative' (0.8000)" in few.text
    many, score = judged("sst2", *tied(1000))
    assert (many.grave, score) == (True, 0.8)


@pytest.mark.parametrize(("counts", "missed"), [((9, 1), 1), ((3, 1), 1), ((8, 2), 1)])
def test_ten_rows_prove_nothing(counts, missed):
    """Where hardly a row is of another label, a good model's miss is no reason to refuse it."""
    labels = np.repeat([0, 1], counts)
    predictions = labels.copy()
    predictions[-missed:] = 0
    predictions[0] = 1 if counts == (8, 2) else 0
    found, _ = judged("sst2", predictions, labels)

    assert not found.grave


def test_good_models_on_few_rows_are_never_refused():
    """Models right on 17 rows of 20 pass on 5 to 60 rows but for one in a hundred, whatever the metric."""
    refused = tried = 0
    for seed in range(150):
        for task, metric in (("sst2", "acc"), ("mrpc", "f1"), ("cola", "mcc"), ("mnli", "acc")):
            rows = 5 + seed % 56
            labels = np.random.default_rng(seed).integers(0, 3 if task == "mnli" else 2, rows)
            if len(set(labels)) < 2:
                continue
            wanted = answers(np.append(labels, 2 if task == "mnli" else 1), 0.85, seed)[:-1]
            found, _ = judged(task, wanted, labels, metric)
            refused, tried = refused + bool(found and found.grave), tried + 1

    assert refused <= tried / 100


def test_one_label_only():
    """Rows that are all of one label cannot show anything: told, with the cure, and not refused."""
    labels = np.ones(300, int)
    predictions = labels.copy()
    predictions[:20] = 0
    found, _ = judged("sst2", predictions, labels)

    assert not found.grave
    assert "no better than always answering 'positive' (1.0000)" in found.text
    assert "all but 0 of the examples are of one kind, so evaluate on more" in found.text


def test_guesses_above_a_constant_answer_are_told():
    """Answers that have nothing to do with the labels may score more than a constant by luck; that is told."""
    labels = np.tile([0, 1], 100)
    predictions = np.tile([0, 0, 1, 1], 50)
    predictions[:4] = [0, 1, 0, 1]
    found, score = judged("sst2", predictions, labels)

    assert (found.grave, score) == (False, 0.51)
    assert "no more than chance may give" in found.text


def test_a_checkpoint_with_more_outputs():
    """Classes that the task does not have stay as they are in the order that is told."""
    labels = labels_of((80, 140))
    found, _ = judged("rte", 1 - answers(labels), labels, outputs=5)

    assert found.grave
    assert found.text.endswith("give --labels not_entailment,entailment,2,3,4")
    found, _ = judged("rte", np.where(answers(labels) == 0, 3, 0), labels, outputs=5)
    assert found.text.endswith("give --labels not_entailment,3,2,entailment,4")
    found, _ = judged("rte", 2 - answers(labels), labels, outputs=3)
    assert "read as not_entailment, " not in found.text
    assert "another order" in found.text


def test_nearly_constant_answers_are_in_no_order():
    """The rarer label for all rows but one would score a row more than a constant answer in the other order."""
    labels = labels_of((60, 140))
    predictions = np.zeros_like(labels)
    predictions[np.flatnonzero(labels == 0)[0]] = 1
    found, _ = judged("sst2", predictions, labels)

    assert found.grave
    assert "another order" not in found.text


def similar(rows, correlation, metric="pearson", seed=4):
    """What is said of scores that correlate so much with the labels."""
    rng = np.random.default_rng(seed)
    labels, noise = rng.normal(size=(2, rows))
    noise -= labels * (labels @ noise) / (labels @ labels)
    scores = correlation * labels / labels.std() + np.sqrt(1 - correlation**2) * noise / noise.std()
    judge = Glue("sts-b", metric)
    judge.update(scores.reshape(-1, 1), labels)
    score = judge.result()
    return objection(find_task("sts-b"), judge, score, transformers.BertConfig(num_labels=1))


@pytest.mark.parametrize("metric", ["pearson", "spearmanr", "corr"])
def test_correlations(metric):
    """About 0 is grave, below 0 as well and the sign is named, and what is clearly above 0 passes."""
    assert similar(200, 0.8, metric) is None
    about_none, turned = similar(400, 0.0, metric), similar(200, -0.8, metric)
    assert about_none.grave
    assert "no better than chance; check that the checkpoint was fine-tuned for STS-B" in about_none.text
    assert "order" not in about_none.text
    assert turned.grave
    assert "the opposite of what the labels say; check the sign of the model's score" in turned.text


def test_correlations_of_few_rows():
    """Eight rows of a good model pass."""
    assert similar(8, 0.7) is None


class Answers(Squad):
    """SQuAD's metric after a pass of which only the questions' scores are known."""

    def __init__(self, title, values, answerable):
        self.title = title
        self._values_known, self._kinds = np.asarray(values), np.asarray(answerable, bool)

    def predictions(self):
        """Return what was given."""
        return self._values_known

    def answerable(self):
        """Return what was given."""
        return self._kinds


def answered(title, values, answerable, task="squad2"):
    """What is said of these answers."""
    score = 100 * float(np.mean(values))
    return objection(find_task(task), Answers(title, values, answerable), score, None)


def test_no_answer_to_any_question():
    """SQuAD 2.0 gives half its points to a model that never answers; one that does no better is grave."""
    kinds = np.repeat([True, False], [100, 110])
    found = answered("f1", ~kinds, kinds)
    assert found.grave
    assert "no better than always answering 'no answer' (52.3810)" in found.text
    assert "labels" not in found.text
    assert answered("best_f1", ~kinds, kinds).grave
    assert answered("f1", np.where(kinds, 0.3, 0.9), kinds) is None
    assert answered("f1", np.where(kinds, 0.1, 0.6), kinds).grave


def test_groups_of_questions():
    """To answer no unanswerable question is perfect, so nothing is said of it; of the others it is nothing."""
    assert answered("NoAns_f1", np.ones(50), np.zeros(50)) is None
    assert answered("HasAns_f1", np.zeros(50), np.ones(50)).grave
    assert answered("exact", np.zeros(50), np.ones(50), "squad").grave
    assert answered("exact", np.ones(50), np.ones(50), "squad") is None


def test_few_questions():
    """A dozen questions may be answered no better than not at all by a good model; one that never answers is grave."""
    kinds = np.repeat([True, False], [5, 7])
    assert not answered("f1", [1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0], kinds).grave
    assert answered("f1", ~kinds, kinds).grave
    assert not answered("f1", ~kinds[1:], kinds[1:]).grave
