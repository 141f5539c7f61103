"""Promises of ``ilit_bert.checkpoints.heads``: every kind of task has a head and a class that transformers knows."""

from __future__ import annotations

from typing import get_args

import pytest
import transformers

from ilit_bert.checkpoints.heads import AUTO_CLASSES, CLASSIFICATION, QUESTION_ANSWERING, Kind, head_for


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("classification", CLASSIFICATION),
        ("regression", CLASSIFICATION),
        ("question_answering", QUESTION_ANSWERING),
    ],
)
def test_head_of_each_kind(kind, head):
    """A regression is a classification head with one output."""
    assert head_for(kind) == head


def test_every_kind_has_a_class():
    """Each kind of task is loaded by a class of transformers."""
    assert set(AUTO_CLASSES) == set(get_args(Kind))
    assert all(hasattr(transformers, name) for name in AUTO_CLASSES.values())
