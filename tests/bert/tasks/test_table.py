"""Tasks and their metrics by name."""

from __future__ import annotations

import pytest

from ilit.errors import ConfigError
from ilit_bert.tasks.table import find_task


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("cola", "CoLA"),
        ("SST2", "SST-2"),
        ("sst_2", "SST-2"),
        ("mrpc", "MRPC"),
        ("stsb", "STS-B"),
        ("QQP", "QQP"),
        ("mnli", "MNLI"),
        ("mnli-mm", "MNLI-MM"),
        ("mnli_mismatched", "MNLI-MM"),
        ("qnli", "QNLI"),
        ("Rte", "RTE"),
        ("wnli", "WNLI"),
        ("squad", "SQuAD-v1.1"),
        ("SQuAD v1.1", "SQuAD-v1.1"),
        ("squad_v2", "SQuAD-v2.0"),
        ("SQuAD2.0", "SQuAD-v2.0"),
    ],
)
def test_tasks_are_found_however_they_are_spelt(spelling, name):
    """Case, hyphens, underscores and dots do not matter."""
    assert find_task(spelling).name == name


@pytest.mark.parametrize(("wrong", "near"), [("mrcp", "MRPC"), ("cola2", "CoLA"), ("squad-v3", "SQuAD-v"), ("", "")])
def test_an_unknown_task_names_the_known(wrong, near):
    """An unknown task is refused with all names and the nearest."""
    with pytest.raises(ConfigError, match=rf"task '{wrong}': there is no such task; there are CoLA, .*{near}"):
        find_task(wrong)


def test_did_you_mean_reaches_the_message():
    """The nearest name is asked after."""
    with pytest.raises(ConfigError, match=r"; did you mean 'MRPC'\?"):
        find_task("mrpcc")


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("cola", "mcc"),
        ("sst2", "acc"),
        ("mrpc", "f1"),
        ("stsb", "spearmanr"),
        ("qqp", "f1"),
        ("mnli", "acc"),
        ("qnli", "acc"),
        ("rte", "acc"),
        ("wnli", "acc"),
        ("squad", "f1"),
        ("squad2", "best_f1"),
    ],
)
def test_the_metric_tuned_on(task, metric):
    """Without a word from the user it is the first present of best_f1, f1, mcc, spearmanr, acc."""
    assert find_task(task).metric == metric
    assert find_task(task).metric_named(None) == metric


def test_a_metric_can_be_named():
    """Another official metric of the task is taken by name, whatever the case; others are refused with the list."""
    assert find_task("mrpc").metric_named("ACC_and_F1") == "acc_and_f1"
    assert find_task("squad2").metric_named("hasans_f1") == "HasAns_f1"
    with pytest.raises(ConfigError, match=r"metric 'mcc': MRPC has no such metric; it has acc, f1, acc_and_f1"):
        find_task("mrpc").metric_named("mcc")
