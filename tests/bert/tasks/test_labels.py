"""Promises of ``ilit_bert.tasks.labels``: a checkpoint's ids are the labels it names, and an assumption is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import transformers

from ilit.errors import ConfigError, ModelError
from ilit_bert.tasks.labels import assumed_order, model_label_ids, name_labels
from ilit_bert.tasks.table import find_task


def config(*names, by_name=False):
    """A model's configuration that names its labels."""
    ids = dict(enumerate(names))
    return SimpleNamespace(label2id={n: i for i, n in ids.items()}) if by_name else SimpleNamespace(id2label=ids)


NAMED = [
    ("mnli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (0, 2, 1)),
    ("mnli-mm", ("entailment", "neutral", "contradiction"), (2, 0, 1)),
    ("mnli", ("entailment (0)", "neutral (1)", "contradiction (2)"), (2, 0, 1)),
    ("mnli", ("2: contradict", "1: neutral", "0: entails"), (0, 2, 1)),
    ("mrpc", ("equivalent", "not_equivalent"), (1, 0)),
    ("mrpc", ("Paraphrase", "non-paraphrase"), (1, 0)),
    ("qqp", ("DUPLICATE", "Not Duplicate"), (1, 0)),
    ("rte", ("not entailment", "Entailment"), (1, 0)),
    ("qnli", ("non_entailment", "entailment"), (1, 0)),
    ("cola", ("acceptable", "not acceptable"), (1, 0)),
    ("sst2", ("NEGATIVE", "POSITIVE"), (0, 1)),
    ("sst2", ("POS", "NEG"), (1, 0)),
    ("sst2", ("negative", "neutral", "positive"), (0, 2)),
]
NUMBERED = [
    ("mnli", ("LABEL_0", "LABEL_1", "LABEL_2"), (0, 1, 2)),
    ("sst2", ("0", "1"), (0, 1)),
    ("sst2", ("1", "0"), (1, 0)),
    ("sst2", ("LABEL_1", "LABEL_2"), (0, 1)),
]


@pytest.mark.parametrize(("task", "names", "ids"), [*NAMED, *NUMBERED])
@pytest.mark.parametrize("by_name", [False, True])
def test_label_order_of_the_checkpoint(task, names, ids, by_name):
    """Where the checkpoint names the task's labels its own numbers are taken; numbers are official positions."""
    assert model_label_ids(find_task(task), config(*names, by_name=by_name)) == ids


def test_no_names_at_all():
    """Without names the official order is taken."""
    assert model_label_ids(find_task("sst2"), config()) == (0, 1)


@pytest.mark.parametrize(("task", "names", "_ids"), NAMED)
def test_names_are_no_assumption(task, names, _ids):
    """Where names say what an id stands for, nothing is told."""
    assert assumed_order(find_task(task), config(*names)) == ""


def test_assumed_order_is_told():
    """Numbers say no order, nor do words that are none of the task's; both are told with what they are taken for."""
    told = assumed_order(find_task("mnli"), config("LABEL_0", "LABEL_1", "LABEL_2"))
    assert told == (
        "the checkpoint names its labels by numbers (LABEL_0, LABEL_1, LABEL_2), which are taken for MNLI's official "
        "order: 0 contradiction, 1 entailment, 2 neutral; say so by --labels where that is wrong"
    )
    told = assumed_order(find_task("sst2"), config("sad", "happy"))
    assert "the checkpoint's labels (sad, happy) are none of SST-2's; they are taken in the official order" in told
    assert model_label_ids(find_task("sst2"), config("sad", "happy")) == (0, 1)
    assert "0 positive, 1 negative" in assumed_order(find_task("sst2"), config("LABEL_1", "LABEL_0"))


def test_scores_and_answers_have_no_order():
    """Regression and question answering are told nothing about labels."""
    assert assumed_order(find_task("sts-b"), config("LABEL_0")) == ""
    assert assumed_order(find_task("squad"), config("LABEL_0", "LABEL_1")) == ""


@pytest.mark.parametrize(
    "names", [("contradiction", "entailment", "neutral"), ("entailment", "Entailment (2)", "not_entailment")]
)
def test_another_tasks_labels_are_refused(names):
    """A checkpoint that names some of the task's labels, but not each once, was trained for another task."""
    with pytest.raises(ModelError, match=r"without RTE's '(not_)?entailment'; use a checkpoint .* by --labels"):
        model_label_ids(find_task("rte"), config(*names))


@pytest.mark.parametrize("given", [("entailment", "neutral", "contradiction"), ("Entails", "NEUTRAL", "contradict")])
def test_names_are_written_into_the_configuration(given):
    """Names given for the ids are stored, officially spelt, and then say the order by themselves."""
    named = transformers.BertConfig(num_labels=3)
    name_labels(named, given, find_task("mnli"))

    assert named.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    assert named.label2id == {"entailment": 0, "neutral": 1, "contradiction": 2}
    assert model_label_ids(find_task("mnli"), named) == (2, 0, 1)
    assert assumed_order(find_task("mnli"), named) == ""


def test_labels_as_the_files_spell_them():
    """``1,0`` names the labels of a file that holds 0 and 1; a checkpoint may know labels that the task does not."""
    named = transformers.BertConfig(num_labels=2)
    name_labels(named, ("1", "0"), find_task("sst2"))
    assert named.id2label == {0: "positive", 1: "negative"}
    three = transformers.BertConfig(num_labels=3)
    name_labels(three, ("positive", "mixed", "negative"), find_task("sst2"))
    assert model_label_ids(find_task("sst2"), three) == (2, 0)


def test_any_names_without_a_task():
    """Without a task the names are anybody's, each once."""
    named = transformers.BertConfig(num_labels=2)
    name_labels(named, ("ham", "spam"))
    assert named.id2label == {0: "ham", 1: "spam"}
    with pytest.raises(ConfigError, match="labels 'ham, ham': each id has a name of its own"):
        name_labels(named, ("ham", "ham"))


@pytest.mark.parametrize(
    ("task", "outputs", "given", "text"),
    [
        ("mnli", 3, ("entailment", "neutral"), "labels 'entailment, neutral': 2 for a checkpoint of 3 outputs"),
        ("mnli", 3, ("entailment", "neutral", "neutral"), "MNLI's are contradiction, entailment, neutral; name each"),
        ("mnli", 3, ("entailment", "neutral", "other"), "MNLI's are contradiction, entailment, neutral; name each"),
        ("sts-b", 1, ("score",), "labels: STS-B has no labels to put into an order; leave --labels out"),
        ("squad", 2, ("start", "end"), "labels: SQuAD-v1.1 has no labels"),
    ],
)
def test_wrong_names_are_refused(task, outputs, given, text):
    """Too few, one twice, one unknown, or a task without labels: one line with what is right."""
    with pytest.raises(ConfigError, match=text):
        name_labels(transformers.BertConfig(num_labels=outputs), given, find_task(task))
