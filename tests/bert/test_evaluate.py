"""Promises of ``ilit_bert.evaluate``: one score for any model the package loads."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from ilit.errors import ConfigError, DataError, ModelError
from ilit_bert.evaluate import EvaluateJob, evaluate


def test_score_of_a_checkpoint(sentiment):
    """The score is the fraction of rows on which the checkpoint's likeliest class is the label."""
    checkpoint = sentiment / "checkpoint"
    rows = [line.split("\t") for line in (sentiment / "data" / "dev.tsv").read_text().splitlines()[1:]]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        logits = model(**tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")).logits
    right = sum(int(label) == answer for (_, label), answer in zip(rows, logits.argmax(-1).tolist(), strict=True))

    counted = []
    scored = evaluate(EvaluateJob(checkpoint, "sst2", sentiment / "data"), counted.append)

    assert (scored.task, scored.metric, scored.examples) == ("SST-2", "acc", 120)
    assert scored.accuracy == pytest.approx(right / 120)
    assert sum(counted) == 120
    assert scored.seconds > 0


def test_first_examples_only(sentiment):
    """``eval_samples`` limits the rows, and the report says how many there were."""
    assert evaluate(EvaluateJob(sentiment / "checkpoint", "SST-2", sentiment / "data", eval_samples=10)).examples == 10


def test_question_answering(tmp_path, tokenizer):
    """SQuAD counts questions, however many windows they have, and its metric is chosen by name."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    transformers.BertForQuestionAnswering(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    context = "the old king of normandy was not a very good king . " * 12
    answers = [{"text": "king", "answer_start": 8}]
    questions = [{"id": str(n), "question": "who was good ?", "answers": answers} for n in range(3)]
    content = {"data": [{"paragraphs": [{"context": context, "qas": questions}]}]}
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(content))

    scored = evaluate(EvaluateJob(tmp_path, "squad", tmp_path, metric="exact", max_length=100, eval_samples=2))

    assert (scored.task, scored.metric, scored.examples) == ("SQuAD-v1.1", "exact", 2)
    assert 0 <= scored.accuracy <= 100


def test_a_score_that_shows_nothing_is_told(turned):
    """A checkpoint read in the wrong order gets its score and a note with the order; given the order, no note."""
    scored = evaluate(EvaluateJob(turned / "checkpoint", "SST-2", turned / "data"))
    assert scored.accuracy < 0.1
    assert len(scored.notes) == 1
    assert "the model scores acc" in scored.notes[0]
    assert scored.notes[0].endswith("so give --labels positive,negative")

    again = evaluate(EvaluateJob(turned / "checkpoint", "SST-2", turned / "data", labels=("positive", "negative")))
    assert (again.accuracy, again.notes) == (pytest.approx(1 - scored.accuracy), ())


MISTAKES = {
    "metric": ({"metric": "f1"}, ConfigError, "SST-2 has no such metric"),
    "length": ({"max_length": 500}, ConfigError, "the model takes 8 to 64 tokens"),
    "samples": ({"eval_samples": 0}, ConfigError, "at least 1 is needed"),
    "labels": ({"labels": ("one", "two", "three")}, ConfigError, "3 for a checkpoint of 2 outputs; name each id once"),
    "task": ({"task": "MNLI"}, DataError, "dev_matched.tsv"),
    "folder": ({"model": "./nowhere"}, ModelError, "no such folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake, sentiment):
    """Each mistake is an error of one line."""
    changes, kind, text = MISTAKES[mistake]
    options = {"model": sentiment / "checkpoint", "task": "SST-2", "data_dir": sentiment / "data", **changes}

    with pytest.raises(kind, match=text) as caught:
        evaluate(EvaluateJob(**options))
    assert "\n" not in str(caught.value)
