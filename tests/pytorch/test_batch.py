"""How batches go into a model, how rows are known again, and what of an answer are predictions."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from ilit.errors import DataError
from ilit_pytorch.batch import (
    batches_of,
    call,
    check_input,
    flat_predictions,
    labels_of,
    model_input,
    predictions,
    row_digests,
    rows_of,
)


class Named(torch.nn.Module):
    """Two named parameters and the keywords that transformers' models swallow."""

    def forward(self, left: Any, right: Any = None, **kwargs: Any) -> Any:
        return left, right


ONE, TWO = torch.ones(2), torch.zeros(2)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [(ONE, (ONE, None)), ((ONE, TWO), (ONE, TWO)), ([ONE, TWO], (ONE, TWO)), ({"right": TWO, "left": ONE}, (ONE, TWO))],
    ids=["tensor", "tuple", "list", "dict"],
)
def test_inputs_go_in_by_their_form(inputs: Any, expected: Any) -> None:
    """A mapping as keywords, a sequence as positions, all else as the one argument."""
    assert all(a is b for a, b in zip(call(Named(), inputs), expected, strict=True))


@pytest.mark.parametrize(
    ("keys", "text"),
    [(("left", "rigth"), "did you mean"), (("right",), "needs 'left'"), (("left", "labels"), "no parameter 'labels'")],
    ids=["misspelt", "missing", "swallowed"],
)
def test_keys_are_compared_with_the_forward(keys: tuple[str, ...], text: str) -> None:
    """What ``**kwargs`` would swallow, and what is missing, is named."""
    with pytest.raises(DataError) as caught:
        check_input(Named(), dict.fromkeys(keys, ONE))
    assert text.lower() in str(caught.value).lower()
    check_input(Named(), {"left": ONE})


@pytest.mark.parametrize("batch", [ONE[0], (ONE,), (ONE, ONE, ONE), {"a": ONE}], ids=["tensor", "1", "3", "dict"])
def test_a_batch_is_a_pair(batch: Any) -> None:
    """Anything else is refused with what it is."""
    with pytest.raises(DataError, match=r"must yield \(input, label\)"):
        model_input(batch)


def test_a_loader_that_yields_nothing_is_named() -> None:
    """The message says which loader."""
    with pytest.raises(DataError, match="evaluation: the loader yields no batch"):
        list(batches_of([], "evaluation"))


LOGITS = torch.tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    "outputs",
    [LOGITS, (LOGITS,), OrderedDict(loss=torch.tensor(1.0), logits=LOGITS, hidden_states=(LOGITS,)),
     {"loss": None, "scores": LOGITS}, LOGITS.bfloat16()],
    ids=["tensor", "tuple of one", "logits", "only one kept", "bfloat16"],
)  # fmt: skip
def test_predictions_are_one_array(outputs: Any) -> None:
    """Loss, states and caches never count."""
    found = predictions(outputs)
    assert found.dtype == np.float32
    assert np.array_equal(found, LOGITS.numpy())
    assert np.array_equal(flat_predictions(outputs), [1.0, 2.0])


def test_several_predictions_keep_their_structure() -> None:
    """Start and end scores stay a dict, tuples stay tuples; labels alike."""
    assert set(predictions({"start_logits": LOGITS, "end_logits": LOGITS})) == {"start_logits", "end_logits"}
    assert len(predictions((LOGITS, LOGITS))) == 2
    assert np.array_equal(labels_of((ONE, [1, 2])), [1, 2])
    assert flat_predictions((LOGITS, torch.tensor([3]))).tolist() == [1.0, 2.0]


def test_rows_are_known_again_whatever_the_padding() -> None:
    """A text's digest is that of its tokens under the mask; an image's that of its pixels."""
    short = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.tensor([[1, 1, 1]])}
    padded = {
        "input_ids": torch.tensor([[9, 9, 9, 9], [5, 6, 7, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }
    assert row_digests((short, None))[0] == row_digests((padded, None))[1]
    images = torch.rand(3, 2, 2)
    assert row_digests((images, None))[1:] == row_digests((images[1:], None))
    assert len(set(row_digests((images, None)))) == rows_of(images) == 3
