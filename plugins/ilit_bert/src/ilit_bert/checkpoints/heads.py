"""The heads a checkpoint may have, and the one that each kind of task needs."""

from __future__ import annotations

from typing import Literal

Kind = Literal["classification", "regression", "question_answering"]
CLASSIFICATION, QUESTION_ANSWERING = "sequence classification", "question answering"
AUTO_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "question_answering": "AutoModelForQuestionAnswering",
}


def head_for(kind: Kind) -> str:
    """Return the head that tasks of a kind need, ``CLASSIFICATION`` or ``QUESTION_ANSWERING``."""
    return QUESTION_ANSWERING if kind == "question_answering" else CLASSIFICATION
