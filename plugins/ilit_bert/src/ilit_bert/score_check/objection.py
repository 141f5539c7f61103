"""Whether a score shows that a model knows its task, and the likely cause where it does not.

What looks like a bad model is mostly a good one that is read wrongly: labels in another order than the task's, text
lowercased for a cased vocabulary, the wrong task. Tuning such a model succeeds and means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilit_bert.score_check.comparison import Z_1_IN_20, Z_1_IN_100, Z_1_IN_740, Comparison, compare, required_z
from ilit_bert.tasks.table import Task

FEW_ROWS = 200
"""Below, a good model may score no better than a constant answer by bad luck, and its answers are looked at."""
FEWEST_OTHERS = 5
"""Rows that are not of the commonest label: with fewer, next to nothing tells a good model from a constant answer."""


@dataclass(frozen=True)
class Objection:
    """An objection to a score.

    Attributes:
        text: one line: the score, the comparison it fails and the likely cause; the caller may add to it.
        grave: the score shows nothing of what the model knows; else there are too few rows to say.
    """

    text: str
    grave: bool


def objection(task: Task, metric: Any, score: float, config: Any, who: str = "float32") -> Objection | None:
    """Return the objection to a score, or None.

    It is grave where the score is no better than the best constant answer on the same rows, for correlations and
    Matthews's (0 for a constant) no better than chance; and where another order of the labels is right on clearly more
    rows. A score above a constant's is not grave, but said where chance may have given it. On fewer than ``FEW_ROWS``
    rows a low score is not grave where predictions agree with the labels as a good model's do.

    Args:
        task: from ``find_task``.
        metric: one of the task's, after a pass over the rows.
        score: its result.
        config: of the model that was scored.
        who: what to call it.
    """
    title = getattr(metric, "title", metric.name)
    if title.startswith("NoAns"):
        return None  # about questions to which no answer is right, so a constant answer is perfect
    found = compare(task, metric, score, config)
    said = f"{task.name}: {who} scores {title} {score:.4f} on {found.rows} examples"
    weak, doubtful = _is_weak(found, title), _is_doubtful(found, title)
    if not weak and not doubtful:
        return None
    return Objection(f"{said}, {_comparison(found, title)}; {_cause(task, found)}", weak)


def _is_correlation(found: Comparison, title: str) -> bool:
    return found.constant is None or title == "mcc"


def _is_weak(found: Comparison, title: str) -> bool:
    """Return whether the score shows that something is wrong."""
    if found.order_z > Z_1_IN_740:
        return True
    if found.others < FEWEST_OTHERS:
        return False
    if _is_correlation(found, title):
        return found.z < required_z(found.rows, Z_1_IN_20)
    excused = found.rows < FEW_ROWS and found.z >= required_z(found.rows, Z_1_IN_100)
    return not found.beats_constant and not excused


def _is_doubtful(found: Comparison, title: str) -> bool:
    """Return whether chance may have given the score."""
    by_chance = found.z < required_z(found.rows, Z_1_IN_20)
    return by_chance or not (_is_correlation(found, title) or found.beats_constant)


def _comparison(found: Comparison, title: str) -> str:
    """Describe the comparison that the score fails."""
    if found.is_reversed:
        return "the opposite of what the labels say"
    if _is_correlation(found, title):
        return "no better than chance"
    if not found.beats_constant:
        return f"no better than always answering '{found.answer}' ({found.constant:.4f})"
    if found.order:
        return "less than in another order of the labels"
    return "no more than chance may give"


def _cause(task: Task, found: Comparison) -> str:
    """Describe the likely cause, with its cure."""
    if found.order and found.order_z > Z_1_IN_20:
        ids = ",".join(found.order)
        return (
            f"its labels seem to be in another order: with the checkpoint's ids read as {', '.join(found.order)} it "
            f"would be {found.reordered:.4f}, so give --labels {ids}"
        )
    if found.is_reversed:
        return "check the sign of the model's score: higher has to mean more alike"
    if found.others < FEWEST_OTHERS:
        return f"all but {found.others} of the examples are of one kind, so evaluate on more"
    order = "the order of its labels, " if task.kind == "classification" else ""
    return f"check that the checkpoint was fine-tuned for {task.name}, {order}and that its tokenizer's casing is right"
