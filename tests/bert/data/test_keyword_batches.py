"""Tuple batches become keyword inputs, and only for transformers models."""

from __future__ import annotations

import collections
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from ilit.errors import DataError
from ilit_bert.data.keyword_batches import KeywordBatches, matches, takes_token_types

SMALL = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
MODELS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SMALL)),
    "bert-qa": lambda: BertForQuestionAnswering(BertConfig(**SMALL)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=50, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    ),
    "roberta": lambda: RobertaForSequenceClassification(
        RobertaConfig(**SMALL, type_vocab_size=1, max_position_embeddings=40)
    ),
}
IDS = torch.randint(3, 50, (4, 6), generator=torch.Generator().manual_seed(0))
MASK, TYPES = torch.ones_like(IDS), torch.zeros_like(IDS)
TYPES[:, 3:] = 1
LABELS, ENDS = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 2, 3, 4])


def wrapped(batch, model="bert"):
    """The one pair made of one batch."""
    return next(iter(KeywordBatches([batch], MODELS[model]())))


@pytest.mark.parametrize("model", ["bert", "distilbert", "roberta"])
def test_a_tensor_dataset_runs(model):
    """A GLUE script's loader fits any model type: token types go only where they mean something."""
    torch_model = MODELS[model]().eval()
    loader = KeywordBatches(DataLoader(TensorDataset(IDS, MASK, TYPES, LABELS), batch_size=2), torch_model)
    for _ in range(2):  # it can be iterated again
        pairs = list(loader)
        assert [labels.tolist() for _, labels in pairs] == [[0, 1], [1, 0]]
        for inputs, _ in pairs:
            assert ("token_type_ids" in inputs) == (model == "bert")
            assert torch_model(**inputs).logits.shape == (2, 2)


Batch = collections.namedtuple("Batch", "ids mask labels")


@pytest.mark.parametrize(
    ("batch", "names"),
    [
        ((IDS, MASK, LABELS), ["input_ids", "attention_mask"]),
        ([IDS, MASK, LABELS], ["input_ids", "attention_mask"]),
        (Batch(IDS, MASK, LABELS), ["input_ids", "attention_mask"]),
        ((IDS, MASK, TYPES, LABELS), ["input_ids", "attention_mask", "token_type_ids"]),
    ],
    ids=["tuple of 3", "list of 3", "named tuple", "tuple of 4"],
)
def test_classification_batches(batch, names):
    """Three or four tensors in any sequence: the last holds the labels."""
    inputs, labels = wrapped(batch)
    assert list(inputs) == names
    assert all(inputs[name] is tensor for name, tensor in zip(names, batch, strict=False))
    assert labels is LABELS


@pytest.mark.parametrize("types", [(TYPES,), ()], ids=["with token types", "without"])
def test_question_answering_batches(types):
    """Two position tensors at the end are the labels, as a pair."""
    inputs, labels = wrapped((IDS, MASK, *types, LABELS, ENDS), "bert-qa")
    assert ("token_type_ids" in inputs) == bool(types)
    assert labels == (LABELS, ENDS)


def test_pairs_go_through_untouched():
    """What is already (input, label) is not looked into, whatever the input is."""
    for batch in (({"input_ids": IDS}, LABELS), ((IDS, MASK), LABELS), [IDS, LABELS]):
        inputs, labels = wrapped(batch)
        assert inputs is batch[0]
        assert labels is batch[1]


def test_a_mapping_with_labels_goes_through():
    """A collator's dict goes in as it is, its labels beside it."""
    batch = {"input_ids": IDS, "labels": LABELS}
    assert wrapped(batch)[0] is batch
    assert wrapped(batch)[1] is LABELS


UNFIT = [
    ("tensor", IDS, "data loader, batch 1: got Tensor; yield (inputs, labels), or tensors in the order (input_ids,"),
    ("text", "abc", "batch 1: got str"),
    ("one", (IDS,), "got a tuple of 1 (Tensor[4, 6])"),
    ("six", (IDS,) * 6, "got a tuple of 6"),
    ("labels first", (LABELS, IDS, MASK), "got a tuple of 3 (Tensor[4], Tensor[4, 6], Tensor[4, 6])"),
    ("rows differ", (IDS, MASK, LABELS[:3]), "all with the same number of rows"),
    ("mask of another shape", (IDS, MASK[:, :2], LABELS), "got a tuple of 3"),
    ("words", ("a", "b", "c"), "got a tuple of 3 (str, str, str)"),
    ("five without types", (IDS, MASK, LABELS, LABELS, ENDS), "got a tuple of 5"),
    (
        "dict without labels",
        {"input_ids": IDS},
        "batch 1: a mapping without 'labels' (it has input_ids); yield (inputs",
    ),
]


@pytest.mark.parametrize(("batch", "message"), [row[1:] for row in UNFIT], ids=[row[0] for row in UNFIT])
def test_anything_else_is_refused(batch, message):
    """A batch of no known form is refused with its number, what it is and what is taken."""
    with pytest.raises(DataError) as caught:
        wrapped(batch)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class OwnLoader(DataLoader):
    """A loader as users write it: the parent's ``__init__`` never runs, so only ``iter`` works."""

    def __init__(self):
        self.iterations = 0

    def __iter__(self):
        self.iterations += 1
        yield {"input_ids": IDS, "labels": LABELS}, LABELS

    def __len__(self):
        raise TypeError("no length")

    def __bool__(self):
        raise TypeError("no truth")


def test_only_iter_is_called_and_late():
    """Nothing but ``iter`` touches the loader, once per iteration and not before."""
    loader, model = OwnLoader(), MODELS["bert"]()
    assert matches(loader, model)
    both = KeywordBatches(loader, model)
    assert loader.iterations == 0
    assert [len(list(both)), len(list(both)), loader.iterations] == [1, 1, 2]


def test_batches_are_taken_one_at_a_time():
    """A batch is yielded before the next is asked for, so memory stays flat."""
    asked = []

    class Counting:
        def __iter__(self):
            for number in range(3):
                asked.append(number)
                yield IDS, MASK, LABELS

    next(iter(KeywordBatches(Counting(), MODELS["bert"]())))
    assert asked == [0]


def test_matches_transformers_models_only():
    """Any transformers model matches, nothing else does, and a one-shot iterator is left for others to refuse."""
    assert all(matches([], make()) for make in MODELS.values())
    assert not matches([], torch.nn.Linear(2, 2))
    assert not matches([], SimpleNamespace(config=SimpleNamespace(model_type="bert")))
    assert not matches(iter([]), MODELS["bert"]())


def test_matching_imports_nothing_heavy():
    """To see that a model is none of transformers' does not import transformers or torch."""
    code = "import sys, ilit_bert.data.keyword_batches as d; d.matches([], object()); "
    code += "print('transformers' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 (our own)
    assert done.stdout.split() == ["False", "False"]


class Around(torch.nn.Module):
    """A module that passes keywords on, as wrappers do."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, **inputs):
        return self.model(**inputs)


@pytest.mark.parametrize(
    ("model", "takes"), [("bert", True), ("bert-qa", True), ("distilbert", False), ("roberta", False)]
)
def test_token_types_by_model(model, takes):
    """BERT embeds two token types, RoBERTa one, DistilBERT none; a module around the model changes nothing."""
    assert takes_token_types(MODELS[model]()) == takes
    assert takes_token_types(Around(MODELS[model]())) == takes
