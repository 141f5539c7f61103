"""The table of tasks, and the look-up by name.

Columns and labels are those of the official files; the metrics are those of the official scorers. Only data is here:
`ilit_bert.tasks.glue` reads GLUE's files, `ilit_bert.tasks.squad.read` SQuAD's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ilit.errors import ConfigError, did_you_mean
from ilit_bert.checkpoints.heads import Kind

Split = Literal["train", "dev"]

TUNED_ON = ("best_f1", "f1", "mcc", "spearmanr", "acc")
"""Of the metrics a task has, the first of these is tuned on where the user names none."""


@dataclass(frozen=True)
class Columns:
    """The columns of a TSV file: names of the header, or 0-based positions in a file without a header.

    Attributes:
        text_a: the first (or only) text.
        text_b: the second text, None where the task has single sentences.
        label: the label or score.
        header: whether line 1 names the columns.
    """

    text_a: str | int
    text_b: str | int | None
    label: str | int
    header: bool = True


@dataclass(frozen=True)
class Task:
    """One benchmark task.

    Attributes:
        name: its official spelling, such as ``SST-2``.
        kind: what the model's head does.
        metrics: names of the official metrics, as `ilit_bert.metrics` scores them.
        train: file name of the training split in the task's folder.
        dev: file name of the split that is evaluated on.
        columns: of the TSV files; None for SQuAD.
        labels: labels as the file spells them, in the official order of their ids; empty for regression and SQuAD.
        label_names: the same labels as checkpoints name them in ``id2label``.
        skips_cut_rows: the official file is known to hold rows cut short by a line break inside a text; they are
            left out and counted in the log rather than refused.
        unanswerable: SQuAD 2.0, where a question may have no answer.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    train: str = "train.tsv"
    dev: str = "dev.tsv"
    columns: Columns | None = None
    labels: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    skips_cut_rows: bool = False
    unanswerable: bool = False

    def file(self, split: Split) -> str:
        """Return the split's file name."""
        return self.train if split == "train" else self.dev

    @property
    def metric(self) -> str:
        """The metric tuned on where the user names none."""
        return next(name for name in TUNED_ON if name in self.metrics)

    def metric_named(self, name: str | None) -> str:
        """Return the official spelling of the metric ``name``, or the task's own choice for None.

        Raises:
            ConfigError: the task has no such metric.
        """
        if name is None:
            return self.metric
        spelt = {metric.casefold(): metric for metric in self.metrics}
        if name.casefold() not in spelt:
            raise ConfigError(
                f"metric '{name}': {self.name} has no such metric; it has {', '.join(self.metrics)}"
                f"{did_you_mean(name, self.metrics)}"
            )
        return spelt[name.casefold()]


_ENTAILMENT = ("entailment", "not_entailment")
_MNLI = ("contradiction", "entailment", "neutral")
_MNLI_COLUMNS = Columns("sentence1", "sentence2", "gold_label")
_BEST = ("best_exact", "best_f1")

TASKS: tuple[Task, ...] = (
    Task(
        "CoLA",
        "classification",
        ("mcc",),
        columns=Columns(3, None, 1, header=False),
        labels=("0", "1"),
        label_names=("unacceptable", "acceptable"),
    ),
    Task(
        "SST-2",
        "classification",
        ("acc",),
        columns=Columns("sentence", None, "label"),
        labels=("0", "1"),
        label_names=("negative", "positive"),
    ),
    Task(
        "MRPC",
        "classification",
        ("acc", "f1", "acc_and_f1"),
        columns=Columns("#1 String", "#2 String", "Quality"),
        labels=("0", "1"),
        label_names=("not_equivalent", "equivalent"),
    ),
    Task(
        "STS-B",
        "regression",
        ("pearson", "spearmanr", "corr"),
        columns=Columns("sentence1", "sentence2", "score"),
    ),
    Task(
        "QQP",
        "classification",
        ("acc", "f1", "acc_and_f1"),
        columns=Columns("question1", "question2", "is_duplicate"),
        labels=("0", "1"),
        label_names=("not_duplicate", "duplicate"),
        skips_cut_rows=True,
    ),
    Task(
        "MNLI",
        "classification",
        ("acc",),
        dev="dev_matched.tsv",
        columns=_MNLI_COLUMNS,
        labels=_MNLI,
        label_names=_MNLI,
    ),
    Task(
        "MNLI-MM",
        "classification",
        ("acc",),
        dev="dev_mismatched.tsv",
        columns=_MNLI_COLUMNS,
        labels=_MNLI,
        label_names=_MNLI,
    ),
    Task(
        "QNLI",
        "classification",
        ("acc",),
        columns=Columns("question", "sentence", "label"),
        labels=_ENTAILMENT,
        label_names=_ENTAILMENT,
    ),
    Task(
        "RTE",
        "classification",
        ("acc",),
        columns=Columns("sentence1", "sentence2", "label"),
        labels=_ENTAILMENT,
        label_names=_ENTAILMENT,
    ),
    Task(
        "WNLI",
        "classification",
        ("acc",),
        columns=Columns("sentence1", "sentence2", "label"),
        labels=("0", "1"),
        label_names=("not_entailment", "entailment"),
    ),
    Task(
        "SQuAD-v1.1",
        "question_answering",
        ("exact", "f1"),
        train="train-v1.1.json",
        dev="dev-v1.1.json",
    ),
    Task(
        "SQuAD-v2.0",
        "question_answering",
        ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1", *_BEST),
        train="train-v2.0.json",
        dev="dev-v2.0.json",
        unanswerable=True,
    ),
)

_OTHER_SPELLINGS = {
    "sst": "SST-2",
    "mnlim": "MNLI",
    "mnlimatched": "MNLI",
    "mnlimismatched": "MNLI-MM",
    "squad": "SQuAD-v1.1",
    "squad1": "SQuAD-v1.1",
    "squad11": "SQuAD-v1.1",
    "squadv1": "SQuAD-v1.1",
    "squad2": "SQuAD-v2.0",
    "squad20": "SQuAD-v2.0",
    "squadv2": "SQuAD-v2.0",
}


def find_task(name: str) -> Task:
    """Return the task of that name. Case, hyphens, underscores, dots and spaces do not matter: ``sst2`` is SST-2.

    Raises:
        ConfigError: there is no such task; names all that there are.
    """
    by_key = {_key(task.name): task for task in TASKS}
    key = _key(name)
    key = _key(_OTHER_SPELLINGS.get(key, key))
    if key not in by_key:
        names = [task.name for task in TASKS]
        near = did_you_mean(name.upper(), names) or did_you_mean(name, names)
        raise ConfigError(f"task '{name}': there is no such task; there are {', '.join(names)}{near}")
    return by_key[key]


def _key(name: str) -> str:
    """Normalize a name: case, hyphens, underscores, dots and spaces do not count."""
    return "".join(letter for letter in name.casefold() if letter not in "-_. ")
