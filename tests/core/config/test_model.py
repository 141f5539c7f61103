"""Values with parts of their own: told in a sentence, and written as they are read."""

from __future__ import annotations

from typing import Any

import pytest

from ilit.config.model import (
    OpLimits,
    PartSpec,
    TensorLimits,
    TransformLimits,
    metric,
    ops,
    part,
    transforms,
    write_metric,
    write_ops,
    write_part,
    write_transforms,
)
from ilit.config.tree import from_python

TOLD: dict[str, tuple[Any, str]] = {
    "part": (PartSpec("basic"), "basic"),
    "part with options": (PartSpec("f1", {"average": "macro", "k": 2}), "f1 (average=macro, k=2)"),
    "part with a value": (PartSpec("topk", value=[1, 5]), "topk ([1, 5])"),
    "no limits": (OpLimits("a"), ""),
    "tensor": (TensorLimits(("int8",), ("asym", "sym"), bits=(8, 7)), "int8 asym/sym 8/7 bits"),
    "op": (
        OpLimits("a", ("int8",), ("static",), activation=TensorLimits(algorithm=("kl",))),
        "int8; static; activation kl",
    ),
    "transforms": (
        TransformLimits((0.5, 1.0), bias_correction=True),
        "smoothing of 0.5/1; bias correction allowed; activations per token as offered",
    ),
    "no transforms": (
        TransformLimits((), bias_correction=False, per_token=False),
        "smoothing forbidden; bias correction forbidden; activations per token forbidden",
    ),
}


@pytest.mark.parametrize(("value", "sentence"), TOLD.values(), ids=TOLD)
def test_what_is_allowed_is_told(value: Any, sentence: str) -> None:
    """As ``ilit check`` prints it; empty where nothing is said."""
    assert value.sentence() == sentence


WRITTEN: dict[str, tuple[Any, Any, Any]] = {
    "part": (part, write_part, "basic"),
    "part with options": (part, write_part, {"name": "mse", "depth": 2}),
    "metric": (metric, write_metric, "f1"),
    "metric with a value": (metric, write_metric, {"topk": 1}),
    "metric with options": (metric, write_metric, {"f1": {"average": "macro"}}),
    "ops": (ops, write_ops, {"a": {"dtype": ["int8"]}, "*": {"approach": "auto", "weight": {"bits": [7]}}}),
    "transforms": (transforms, write_transforms, {"smooth": [0.7], "per_token": False}),
    "no smoothing": (transforms, write_transforms, {"smooth": "none"}),
}


@pytest.mark.parametrize(("reader", "write", "value"), WRITTEN.values(), ids=WRITTEN)
def test_what_was_read_is_written_as_it_was(reader: Any, write: Any, value: Any) -> None:
    """The canonical spelling of each value is its own way back."""
    assert write(reader(from_python(value))) == value


@pytest.mark.parametrize(
    ("write", "value"), [(write_metric, None), (write_ops, ()), (write_transforms, TransformLimits())]
)
def test_what_says_nothing_is_not_written(write: Any, value: Any) -> None:
    """None leaves the key out."""
    assert write(value) is None
