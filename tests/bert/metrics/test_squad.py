"""SQuAD's metric over batches of windows."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ilit.errors import DataError, EvaluationError
from ilit.metric import PairedMetric
from ilit.testing import MetricCase, MetricContract
from ilit_bert.metrics.first_score import first_score
from ilit_bert.metrics.squad import Squad
from ilit_bert.tasks.squad.answers import best_answers
from ilit_bert.tasks.squad.read import read_questions
from ilit_bert.tasks.squad.scores import official_scores
from ilit_bert.tasks.squad.windows import WindowSize, cut_windows
from ilit_bert.tasks.table import find_task

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
    """A unit is a question that the metric is about, right or wrong or a score; the logits are not stored."""
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
