"""Promises of ``ilit_bert.predict``: one answer a line, in the lines' order."""

from __future__ import annotations

import pytest
import torch
import transformers

from ilit.errors import ConfigError, DataError, ModelError
from ilit_bert.predict import predict, read_lines

TEXTS = [("a good film", None), ("a very bad old film of the king", None), ("the king was good", None), ("bad", None)]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}


@pytest.fixture
def checkpoint(tmp_path, tokenizer):
    """Return a function that saves a random model of a class and returns its folder."""

    def save(name, **options):
        torch.manual_seed(0)
        config = transformers.BertConfig(vocab_size=len(tokenizer), **SMALL, **options)
        getattr(transformers, name)(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return save


def test_labels_and_probabilities(sentiment):
    """Sentences of any length get the class's name and its probability, in the order given."""
    found = predict(sentiment / "checkpoint", TEXTS, batch_size=2)

    assert [prediction.label for prediction in found] == ["positive", "negative", "positive", "negative"]
    assert all(0.5 <= prediction.score <= 1 for prediction in found)


def test_labels_may_be_named(turned):
    """Names given for the model's ids are answered with."""
    (found,) = predict(turned / "checkpoint", TEXTS[:1], labels=("good", "bad"))
    assert found.label == "good"


def test_answers_have_no_labels(checkpoint):
    """A model for question answering has nothing to name."""
    with pytest.raises(ConfigError, match="answers questions and has no labels; leave --labels out"):
        predict(checkpoint("BertForQuestionAnswering"), [("who", "he ran")], labels=("start", "end"))


def test_pairs(checkpoint):
    """Two texts a line go in as a pair."""
    folder = checkpoint("BertForSequenceClassification")
    one_way, other_way = predict(folder, [("a good film", "a king"), ("a king", "a good film")])

    assert one_way.label in ("LABEL_0", "LABEL_1")
    assert one_way.score != other_way.score


def test_model_with_one_output(checkpoint):
    """A regression model gives its score."""
    (found,) = predict(checkpoint("BertForSequenceClassification", num_labels=1), [("a good film", "a film")])

    assert found.label == "score"


def test_question_answering(checkpoint):
    """Question and context give a piece of the context."""
    folder = checkpoint("BertForQuestionAnswering")
    context = "the old king of normandy was not a very good king"
    found = predict(folder, [("who was good", context), ("who ran", "he ran in the film")])

    assert found[0].label in context
    assert found[1].label in "he ran in the film"
    assert found[0].label


def test_question_answering_needs_a_context(checkpoint):
    """A question by itself is refused by its line."""
    with pytest.raises(DataError, match=r"line 2: .* give question and context separated by a tab"):
        predict(checkpoint("BertForQuestionAnswering"), [("who", "he ran"), ("who", None)])


def test_other_heads_are_refused(checkpoint):
    """A model for neither kind of task is refused by the class it names."""
    with pytest.raises(ModelError, match=r"names BertForMaskedLM .* neither sequence classification nor question"):
        predict(checkpoint("BertForMaskedLM"), TEXTS)


def test_lines_are_sentences_or_pairs():
    """A tab separates a pair; a byte-order mark and CRLF are not text."""
    assert read_lines(["\ufeffa film\r\n"], "here") == [("a film", None)]
    assert read_lines(["a film\ta king\n", "he\tran"], "here") == [("a film", "a king"), ("he", "ran")]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], "here: has no lines"),
        (["a", ""], "here:2: give one sentence"),
        (["a\tb\tc"], "here:1: give one"),
        (["a\t"], "here:1"),
    ],
    ids=["none", "empty", "three", "half"],
)
def test_other_lines_are_refused(lines, text):
    """What is neither is refused by place and line."""
    with pytest.raises(DataError, match=text):
        read_lines(lines, "here")


def test_single_texts_and_pairs_in_one_go(sentiment):
    """A file is of sentences or of pairs, not of both."""
    with pytest.raises(DataError, match="line 2: has two texts, line 1 has one"):
        predict(sentiment / "checkpoint", [("a", None), ("a", "b")])
