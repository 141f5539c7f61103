"""GLUE's and SQuAD's figures, batch by batch, and what has no figure."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from ilit.errors import ConfigError, DataError, EvaluationError, ModelError
from ilit.metric import Metric, PairedMetric
from ilit.testing import MetricCase, MetricContract
from ilit_bert.first_score import first_score
from ilit_bert.metrics import METRICS, AccAndF1, Corr, Glue, Mcc, Pearson, Spearmanr, Squad, tuning_metric
from ilit_bert.tasks import TASKS, find_task
from ilit_bert.tasks.squad import WindowSize, best_answers, cut_windows, official_scores, read_questions

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


def test_registered_metrics():
    """All have the protocol's shape and names of their own, none of them another plugin's."""
    names = [metric.name for metric in METRICS]
    assert names == ["glue", "squad", "acc_and_f1", "mcc", "pearson", "spearmanr", "corr"]
    assert not {"topk", "accuracy", "f1", "mse", "rmse", "mae"} & set(names)
    assert all(metric.higher_is_better for metric in METRICS)
    assert all(isinstance(made, Metric) for made in (Glue("mrpc"), Mcc(), Corr()))


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


# --- SQuAD -----------------------------------------------------------------------------------------------------------

CONTEXT = "a king was born in normandy . he was old and he ran ."
QAS = [
    {"id": "1", "question": "who was born?", "answers": [{"text": "king", "answer_start": 2}], "is_impossible": False},
    {"id": "2", "question": "what was he?", "answers": [{"text": "old", "answer_start": 39}], "is_impossible": False},
    {"id": "3", "question": "who is bad?", "answers": [], "is_impossible": True},
]
SIZE = WindowSize(20, 3, 8)


@pytest.fixture
def squad(tmp_path, tokenizer, tokenizer_dir):
    """A v2.0 folder, the metric's options and the windows of it."""
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": QAS}]}]}
    (tmp_path / "dev-v2.0.json").write_text(json.dumps(content))
    options = {"task": "squad2", "data_dir": str(tmp_path), "tokenizer": str(tokenizer_dir), "max_length": 20}
    questions = read_questions(find_task("squad2"), tmp_path, "dev")
    return SimpleNamespace(
        options={**options, "doc_stride": 3, "question_length": 8}, windows=cut_windows(questions, tokenizer, SIZE)
    )


def batch(windows, picked, wanted, pad):
    """Outputs that point at the wanted words (or at no answer), padded to ``pad`` tokens, and the labels."""
    start = np.full((len(picked), pad), -5.0)
    for row, index in enumerate(picked):
        window = windows[index]
        word = wanted.get(window.question)
        at = [position for position, (a, b) in enumerate(window.offsets) if word and CONTEXT[max(a, 0) : b] == word]
        start[row, at[:1] or [0]] = 5.0
        start[row, len(window.input_ids) :] = 99.0  # what the model says of padding is nothing
    return {"start_logits": start, "end_logits": start}, np.array([[i, windows[i].checksum] for i in picked])


SQUAD_METRICS = ["exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "best_exact", "best_f1"]


class TestSquad(MetricContract):
    """Windows of random logits; a question has several, so that some stay open between batches."""

    @pytest.fixture(params=SQUAD_METRICS)
    def case(self, request, squad):
        rng, count = np.random.default_rng(8), len(squad.windows)
        outputs = {name: rng.normal(size=(count, 20)) for name in ("start_logits", "end_logits")}
        labels = np.array([[index, window.checksum] for index, window in enumerate(squad.windows)])
        logits = {index: (outputs["start_logits"][index], outputs["end_logits"][index]) for index in range(count)}
        task, questions = find_task("squad2"), read_questions(find_task("squad2"), squad.options["data_dir"], "dev")
        figure = official_scores(questions, best_answers(questions, squad.windows, logits), task)[request.param]
        return MetricCase(
            lambda: Squad(**squad.options, metric=request.param), outputs, labels, figure,
            misfit=(outputs, labels[:2]), tolerance=1e-5, answers=random_answers,
        )  # fmt: skip


def random_answers(rng, labels):
    """Logits of which some point at the answer itself."""
    outputs = {name: rng.normal(size=(len(labels), 20)) for name in ("start_logits", "end_logits")}
    outputs["start_logits"][:, 0] += rng.choice([-9, 0, 9])
    return outputs


def test_squad_units_are_questions(squad):
    """A unit is a question that the metric is about, right or wrong or a score; the logits are not kept."""
    windows, found = squad.windows, {}
    for name in ("exact", "f1", "NoAns_f1"):
        found[name] = Squad(**squad.options, metric=name)
        found[name].update(*batch(windows, range(len(windows)), {0: "king", 1: "he"}, 25))
        assert isinstance(found[name], PairedMetric)
        assert not found[name].by_row
    assert found["exact"].share_of_right
    assert not found["f1"].share_of_right
    assert found["exact"].predictions().tolist() == [1, 0, 1]
    assert found["exact"].labels().tolist() == [1, 1, 1]
    assert found["f1"].predictions().tolist() == [1, 0, 1]
    assert found["NoAns_f1"].predictions().tolist() == [1]
    assert [found[name].answerable().tolist() for name in ("f1", "NoAns_f1")] == [[True, True, False], [False]]


def test_squads_first_score_is_over_all_windows(squad):
    """Who waits for the first full evaluation hears of it when all windows were seen, not before."""
    windows, heard = squad.windows, []
    with first_score(len(windows), lambda metric, score: heard.append((metric, score))):
        metric = Squad(**squad.options, metric="exact")
        metric.update(*batch(windows, range(len(windows) - 1), {0: "king"}, 25))
        metric.result()
        assert not heard
        metric.update(*batch(windows, [len(windows) - 1], {}, 25))
        assert heard == [(metric, metric.result())]


def test_squad_asked_between_windows(squad):
    """What was asked after a question's first window does not stand in the way of what its others say."""
    windows, metric = squad.windows, Squad(**squad.options, metric="exact")
    of_first = [index for index, window in enumerate(windows) if window.question == 0]
    wrong, right = batch(windows, of_first[1:], {0: "he"}, 20), batch(windows, of_first[:1], {0: "king"}, 20)
    metric.update(*wrong)
    assert metric.predictions().tolist() == [0]
    metric.update({name: 2 * logits for name, logits in right[0].items()}, right[1])
    assert metric.predictions().tolist() == [1]
    assert metric.result() == 100.0


def test_squad_reachable_counts_open_questions_as_perfect(squad):
    """A question is done when its last window was; until then, and while unseen, it may still be right."""
    windows = squad.windows
    keys = np.array([[index, window.checksum] for index, window in enumerate(windows)])
    of_first = [index for index, window in enumerate(windows) if window.question == 0]
    metric = Squad(**squad.options, metric="exact")
    metric.update(*batch(windows, of_first[:-1], {0: "he"}, 20))
    assert metric.reachable(keys[of_first[-1] :]) == 100.0
    metric.update(*batch(windows, of_first[-1:], {0: "he"}, 20))
    assert metric.reachable(keys[of_first[-1] + 1 :]) == pytest.approx(200 / 3)
    assert Squad(**squad.options, metric="NoAns_f1").reachable(keys[of_first]) is None
    with pytest.raises(DataError, match="window 99 was cut differently"):
        metric.reachable(np.array([[99, 0]]))


def test_squad_over_batches_of_different_length(squad):
    """Windows of a question may come in different batches, each padded as it likes; the order does not matter."""
    windows, wanted = squad.windows, {0: "king", 1: "old"}
    assert len(windows) > 3
    metric = Squad(**squad.options, metric="f1")
    for picked, pad in ((list(range(len(windows)))[::2][::-1], 20), (list(range(len(windows)))[1::2], 33)):
        metric.update(*batch(windows, picked, wanted, pad))
    assert metric.result() == 100.0
    for name in ("NoAns_exact", "HasAns_f1", "best_exact"):
        other = Squad(**squad.options, metric=name)
        other.update(*batch(windows, range(len(windows)), wanted, 25))
        assert other.result() == 100.0


def test_squad_counts_the_questions_seen(squad):
    """Questions of which no window was seen are left out; a figure about none of those seen is an error."""
    windows, metric = squad.windows, Squad(**squad.options, metric="NoAns_f1")
    picked = [index for index, window in enumerate(windows) if window.question == 0]
    exact = Squad(**squad.options, metric="exact")
    for one in (metric, exact):
        one.update(*batch(windows, picked, {0: "he"}, 20))
    assert exact.result() == 0.0
    with pytest.raises(EvaluationError, match="squad NoAns_f1: no question seen has no answer; evaluate on more"):
        metric.result()


def test_squad_null_threshold(squad):
    """A question whose null odds are not above the threshold gets its best span."""
    windows = squad.windows
    picked = [index for index, window in enumerate(windows) if window.question == 2]
    scores = []
    for threshold in (-100.0, 0.0):
        metric = Squad(**squad.options, metric="NoAns_exact", null_threshold=threshold)
        metric.update(*batch(windows, picked, {2: "king"}, 20))
        scores.append(metric.result())
    assert scores == [100.0, 0.0]


def test_squad_takes_a_tuple(squad):
    """Start and end logits may come as a pair."""
    outputs, labels = batch(squad.windows, [0], {0: "king"}, 20)
    metric = Squad(**squad.options)
    metric.update((outputs["start_logits"], outputs["end_logits"]), labels)
    assert metric.result() == 100.0


def test_squad_misfits(squad):
    """Windows cut otherwise, other labels, other outputs and NaN are refused."""
    metric = Squad(**squad.options)
    with pytest.raises(EvaluationError, match="squad: no window was seen"):
        metric.result()
    outputs, labels = batch(squad.windows, [0], {0: "king"}, 20)
    for wrong in ([0, 1], [99, 0]):
        with pytest.raises(DataError, match="was cut differently for the model than for the metric; give"):
            metric.update(outputs, labels + np.array([wrong]))
    with pytest.raises(DataError, match=r"squad: labels of shape \(1,\) for outputs of shapes \(1, 20\) and \(1, 20\)"):
        metric.update(outputs, np.array([0]))
    with pytest.raises(DataError, match="squad: the model's outputs are logits, not start_logits and end_logits"):
        metric.update({"logits": outputs["start_logits"]}, labels)
    with pytest.raises(EvaluationError, match="squad: the model gave NaN or infinity for 1 of 1 windows of a batch"):
        metric.update({**outputs, "end_logits": outputs["end_logits"] * np.nan}, labels)


# --- What the configuration is given ----------------------------------------------------------------------------------


def model_with(*names, positions=512):
    """What is looked at of a model."""
    ids = dict(enumerate(names))
    return SimpleNamespace(config=SimpleNamespace(id2label=ids, max_position_embeddings=positions))


def test_tuning_metric_of_glue(tokenizer):
    """The configuration's metric is plain data; F1's positive class follows the checkpoint's numbering."""
    given = {"data_dir": "d", "source": "s"}
    flipped = model_with("equivalent", "not_equivalent")
    assert tuning_metric(find_task("mrpc"), flipped, tokenizer, **given) == {
        "glue": {"task": "MRPC", "metric": "f1", "positive": 0}
    }
    assert tuning_metric(find_task("mrpc"), flipped, tokenizer, **given, metric="ACC") == {
        "glue": {"task": "MRPC", "metric": "acc"}
    }
    with pytest.raises(ModelError, match="without MRPC's 'not_equivalent'"):
        tuning_metric(find_task("mrpc"), model_with("equivalent", "other"), tokenizer, **given)


def test_tuning_metric_of_squad(tokenizer, squad):
    """The options of ``squad`` cut the very windows that the loader cuts, and are enough to make the metric."""
    options = tuning_metric(
        find_task("squad2"), model_with(positions=256), tokenizer, data_dir=squad.options["data_dir"],
        source=squad.options["tokenizer"],
    )["squad"]  # fmt: skip
    assert json.loads(json.dumps(options)) == options
    assert (options["metric"], options["max_length"], options["doc_stride"]) == ("best_f1", 256, 94)
    assert Squad(**options).name == "squad"


def test_titles_say_which_metric_it_is():
    """Messages name the metric that is really computed, not the class that computes several."""
    assert [Glue("MRPC").title, Glue("MRPC", "acc_and_f1").title, Glue("CoLA").title] == ["f1", "acc_and_f1", "mcc"]
