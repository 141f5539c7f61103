"""How batches go into a model, how rows are known again, and what of an answer are predictions."""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict, UserDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ilit.errors import DataError
from ilit_pytorch.model.batch import (
    batches_of,
    call,
    check_input,
    flat_predictions,
    labels_of,
    model_input,
    predictions,
    regroup,
    row_digests,
    row_shapes,
    rows_of,
    tensors_in,
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
    ids=["tensor", "tuple of one", "logits", "only one array", "bfloat16"],
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
    assert flat_predictions(torch.tensor([1 + 2j])).tolist() == [1.0, 2.0]


@dataclasses.dataclass
class Answer:
    """A model's answer with names."""

    hidden: Any
    logits: Any = None


@dataclasses.dataclass
class Dictlike(OrderedDict[str, Any]):
    """A dataclass that is a mapping as well, as transformers' outputs are; the mapping counts."""

    hidden: Any = None


class Plain:
    """An object whose attributes a metric may read."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def test_a_dataclass_is_a_mapping_of_its_fields() -> None:
    """Its logits alone count; without them every field that is there; within other answers too."""
    assert np.array_equal(predictions(Answer(ONE, LOGITS)), LOGITS.numpy())
    assert np.array_equal(predictions(Answer(LOGITS)), LOGITS.numpy())
    (found, other) = predictions((Answer(ONE, [LOGITS, None]), LOGITS))
    assert np.array_equal(found["hidden"], ONE.numpy())
    assert found["logits"][1] is None
    assert np.array_equal(other, LOGITS.numpy())
    assert list(tensors_in(Answer(ONE, {"a": TWO}))) == [ONE, TWO]
    mapping = Dictlike()
    mapping["scores"] = LOGITS
    assert np.array_equal(predictions(mapping), LOGITS.numpy())
    assert predictions(Answer) is Answer


SPARSE = torch.eye(2)[:, :1].to_sparse()


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(SPARSE, id="coo"),
        pytest.param(
            torch.sparse_coo_tensor([[0, 0], [0, 0]], [0.5, 0.5], (2, 1), check_invariants=True), id="not coalesced"
        ),
        pytest.param(SPARSE.half(), id="half"),
        pytest.param(SPARSE.to_dense().bfloat16(), id="bfloat16"),
        pytest.param(SPARSE.to_dense().to(torch.float8_e5m2), id="eight bits"),
        pytest.param(SPARSE.to_dense().to_mkldnn(), id="mkldnn"),
        pytest.param(torch.tensor([[1 - 1j], [0j]]).conj().real, id="conjugated"),
        pytest.param(torch.nn.Parameter(SPARSE.to_dense()), id="with a gradient"),
    ],
)
@pytest.mark.parametrize("around", [lambda t: t, lambda t: {"only": t}, Answer], ids=["plain", "dict", "class"])
def test_tensors_of_any_form_are_arrays(tensor: torch.Tensor, around: Callable[[Any], Any]) -> None:
    """A dense float32 array with the same values."""
    found = predictions(around(tensor))
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0], [0.0]]


def test_compressed_rows_are_arrays() -> None:
    """Whatever the layout; torch says once that some of them are young."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        compressed = SPARSE.to_dense().to_sparse_csr()
    assert predictions(compressed).tolist() == [[1.0], [0.0]]


def test_a_sparse_tensor_too_large_to_be_dense_is_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indices in order, values and shape."""
    monkeypatch.setattr("ilit_pytorch.model.batch.MOST_DENSE", 1)
    found = predictions((SPARSE, LOGITS))[0]
    assert (found["indices"].tolist(), found["values"].tolist(), found["shape"].tolist()) == ([[0], [0]], [1.0], [2, 1])


def test_nested_tensors_are_one_array_each() -> None:
    """Rows of different lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        nested = torch.nested.nested_tensor([ONE, ONE[:1]])
    assert [part.tolist() for part in predictions((nested, LOGITS))[0]] == [[1.0, 1.0], [1.0]]


def test_what_is_no_tensor_stays() -> None:
    """Numbers are arrays, text and objects as they are; floats in an object's attributes count for probes as well."""
    array = np.arange(3)
    text, nothing, number, own, list_ = predictions(("a", None, 0.5, array, [array, array[:1]]))
    assert (text, nothing, number.shape, own is array) == ("a", None, (), True)
    assert [part.tolist() for part in list_] == [[0, 1, 2], [0]]
    plain = Plain(logits=LOGITS, name="a")
    assert predictions(plain) is plain
    assert flat_predictions(plain).tolist() == [1.0, 2.0]


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


# --- Rows in new batches -------------------------------------------------------------------------------------------

X, Y = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 2, 3])


class Encoding(UserDict[str, Any]):
    """A mapping that is no dict, as tokenizers give it."""


@pytest.mark.parametrize(
    ("batch", "first_and_last"),
    [
        pytest.param((X, Y), (X[[0, 3]], Y[[0, 3]]), id="tensor"),
        pytest.param(((X, X + 1), Y), ((X[[0, 3]], X[[0, 3]] + 1), Y[[0, 3]]), id="tuple"),
        pytest.param(([X, None], Y), ([X[[0, 3]], None], Y[[0, 3]]), id="list with None"),
        pytest.param(({"x": X}, {"a": Y, "b": X}), ({"x": X[[0, 3]]}, {"a": Y[[0, 3]], "b": X[[0, 3]]}), id="dicts"),
        pytest.param((Encoding(x=X), Y), ({"x": X[[0, 3]]}, Y[[0, 3]]), id="other mapping"),
        pytest.param((X, [0, 1, 2, 3]), (X[[0, 3]], np.array([0, 3])), id="labels as a list"),
        pytest.param((X, Y.numpy()), (X[[0, 3]], np.array([0, 3])), id="labels as an array"),
        pytest.param([X.bool(), X.bfloat16()], (X.bool()[[0, 3]], X.bfloat16()[[0, 3]]), id="other types"),
    ],
)
def test_rows_are_taken_out_of_any_structure(batch: Any, first_and_last: Any) -> None:
    """Inputs and labels alike, with their types; the batch itself stays as it was."""
    before = repr(batch)
    (made,) = regroup([batch], [[(0, 0), (0, 3)]])
    assert repr(made) == repr(first_and_last)
    assert repr(batch) == before
    assert len(set(row_shapes(batch))) == 1
    assert len(row_shapes(batch)) == 4


def test_rows_of_several_batches_share_one() -> None:
    """Each row is named by its batch and its place there, and batches nobody asks for are not looked at."""
    others = (X + 100, Y + 100)
    made = regroup([(X, Y), "no batch", others], [[(2, 1), (0, 0)], [(0, 2)]])
    assert torch.equal(made[0][0], torch.stack([X[1] + 100, X[0]]))
    assert made[0][1].tolist() == [101, 0]
    assert [len(batch[1]) for batch in made] == [2, 1]


def test_a_made_batch_shares_no_memory() -> None:
    """Whatever a model does to its input, the rows that are cached stay as they were."""
    (made,) = regroup([(X, Y)], [[(0, 0)]])
    made[0].zero_()
    assert X[0].tolist() == [0.0, 1.0, 2.0]


def test_padding_decides_which_rows_fit_together() -> None:
    """Rows padded to another length, of another type or with other inputs have another shape."""
    batches = [(X, Y), (X[:, :2], Y), (X.double(), Y), ({"x": X}, Y), ({"y": X}, Y)]
    assert len({row_shapes(batch)[0] for batch in batches}) == len(batches)
    assert row_shapes((X[:2], Y[:2]))[0] == row_shapes((X, Y))[0]


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param((X, 1), id="one label for all"),
        pytest.param((X, ["a", "b", "c", "d"]), id="text"),
        pytest.param((X, Y[:3]), id="fewer labels"),
        pytest.param(({"x": X, "scale": torch.tensor(2.0)}, Y), id="a number for all"),
        pytest.param(({"x": X, "flag": True}, Y), id="a flag"),
    ],
)
@pytest.mark.parametrize("call_", [row_shapes, lambda batch: regroup([batch], [[(0, 0)]])], ids=["shapes", "regroup"])
def test_rows_that_cannot_be_told_apart_are_refused(batch: Any, call_: Callable[[Any], Any]) -> None:
    """What has no entry a row belongs to nobody knows which of them."""
    with pytest.raises(DataError, match="rows cannot be told apart"):
        call_(batch)


@pytest.mark.parametrize("others", [(X[:, :2], Y), ({"x": X}, Y)], ids=["other padding", "other structure"])
def test_rows_that_do_not_fit_together_are_refused(others: Any) -> None:
    """Nothing is padded or dropped to make them fit."""
    with pytest.raises(DataError, match="cannot share a batch"):
        regroup([(X, Y), others], [[(0, 0), (1, 0)]])


def test_a_dict_that_is_one_argument_is_told_how_to_go_in() -> None:
    """A forward that takes one thing and is given a dict with other names may mean the dict itself."""

    class Takes(torch.nn.Module):
        def forward(self, features: Any) -> Any:
            return features["pixels"]

    with pytest.raises(DataError, match=r"no parameter 'pixels'; .* put that into a tuple: \(\{\.\.\.\},\)"):
        check_input(Takes(), {"pixels": torch.ones(1)})
    check_input(Takes(), ({"pixels": torch.ones(1)},))
