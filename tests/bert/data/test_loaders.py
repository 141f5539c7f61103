"""What a loader's batches hold, and from which split."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from ilit.errors import ConfigError, DataError, ModelError
from ilit_bert.checkpoints.tokenizer import load_tokenizer
from ilit_bert.data.loaders import calibration_loader, evaluation_loader, few_rows, prediction_loader, tokenize
from ilit_bert.metrics.squad import Squad
from ilit_bert.metrics.table import tuning_metric
from ilit_bert.tasks.glue import Example
from ilit_bert.tasks.table import find_task

SST2, MRPC, SQUAD = find_task("sst2"), find_task("mrpc"), find_task("squad")
SMALL = {"vocab_size": 120, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
WORDS = ["good", "bad", "very", "old", "king", "film", "he", "ran", "not", "was"]


def bert(**changes):
    """A tiny BERT classifier."""
    return BertForSequenceClassification(BertConfig(**SMALL, **changes)).eval()


def sentence(row):
    """A sentence of 1 to 9 words that differs from row to row."""
    return " ".join(WORDS[(row + step) % 10] for step in range(1 + row * 7 % 9)) + f" {row}"


@pytest.fixture
def sst2(tmp_path):
    """A folder with 40 rows to train on and 23 others to evaluate on."""
    for name, rows in (("train.tsv", range(100, 140)), ("dev.tsv", range(23))):
        lines = [f"{sentence(row)}\t{row % 2}" for row in rows]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return tmp_path


@pytest.fixture
def squad(tmp_path):
    """A SQuAD folder whose contexts need several windows of 90 tokens."""
    for split, count in (("train", 5), ("dev", 3)):
        paragraphs = [
            {
                "context": f"{split} {number} . " + "he was old and " * 40 + "he ran .",
                "qas": [{"id": f"{number}", "question": "who ran?", "answers": [{"text": split, "answer_start": 0}]}],
            }
            for number in range(count)
        ]
        (tmp_path / f"{split}-v1.1.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return tmp_path


def texts_of(loader, tokenizer):
    """The text of each row, in the file's order."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for inputs, _ in loader for ids in inputs["input_ids"]]
    return loader.in_file_order(texts)


def test_rows_arrive_whole_and_can_be_put_back(sst2, tokenizer):
    """Every row of the dev split comes exactly once, with its label, and goes back to its place in the file."""
    loader = evaluation_loader(SST2, sst2, bert(), tokenizer, batch_size=4)
    squeezed = [text.replace(" ", "") for text in texts_of(loader, tokenizer)]
    assert squeezed == [sentence(row).replace(" ", "") for row in range(23)]
    labels = [label for _, labels in loader for label in labels.tolist()]
    assert loader.in_file_order(labels) == [row % 2 for row in range(23)]
    assert sorted(loader.row_ids) == list(range(23))
    assert len(loader) == len(list(loader)) == 6


def test_padding_does_not_change_outputs(sst2, tokenizer):
    """Batched and one by one, the model says the same of every row."""
    model = bert()
    outputs = []
    with torch.no_grad():
        for size in (1, 8):
            loader = evaluation_loader(SST2, sst2, model, tokenizer, batch_size=size)
            rows = [row for inputs, _ in loader for row in model(**inputs).logits]
            outputs.append(torch.stack(loader.in_file_order(rows)))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)  # float32 sums in another order


def test_token_types_only_where_the_model_has_them(tmp_path, tokenizer):
    """Pairs get token types 0 and 1 for BERT; DistilBERT's inputs have none."""
    (tmp_path / "dev.tsv").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\the ran\tking ran\n")
    ((inputs, _),) = evaluation_loader(MRPC, tmp_path, bert(), tokenizer)
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    distil = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=120, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    )
    ((inputs, _),) = evaluation_loader(MRPC, tmp_path, distil, tokenizer)
    assert list(inputs) == ["input_ids", "attention_mask"]
    distil(**inputs)


def test_samples_are_the_first_rows(sst2, tokenizer):
    """``samples`` takes the first rows of the dev split, or all where there are fewer."""
    assert sorted(evaluation_loader(SST2, sst2, bert(), tokenizer, samples=5).row_ids) == [0, 1, 2, 3, 4]
    assert len(evaluation_loader(SST2, sst2, bert(), tokenizer, samples=500).row_ids) == 23


def test_calibration_takes_training_rows_only(sst2, tokenizer):
    """Calibration rows are different rows of the training split, chosen by the seed alone."""
    loaders = [calibration_loader(SST2, sst2, bert(), tokenizer, rows=10, seed=seed) for seed in (1, 1, 2)]
    ids = [sorted(loader.row_ids) for loader in loaders]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 10
    training = {sentence(row).replace(" ", "") for row in range(100, 140)}
    assert {text.replace(" ", "") for text in texts_of(loaders[0], tokenizer)} <= training


def test_calibration_needs_the_training_split(sst2, tokenizer):
    """No training split, or too few rows in it: said so, never made up for from the dev split."""
    with pytest.raises(DataError, match=r"calibration samples 41: SST-2's train\.tsv has 40 rows; ask for fewer"):
        calibration_loader(SST2, sst2, bert(), tokenizer, rows=41)
    (sst2 / "train.tsv").unlink()
    with pytest.raises(
        DataError, match=r"train\.tsv: is missing \(calibration takes its rows from the training split\)"
    ):
        calibration_loader(SST2, sst2, bert(), tokenizer)


def test_calibration_takes_what_is_there_by_default(sst2, tokenizer, caplog):
    """Without a number 128 rows are taken, or all where there are fewer, and the log says so."""
    caplog.set_level(logging.INFO)
    assert sorted(calibration_loader(SST2, sst2, bert(), tokenizer).row_ids) == list(range(40))
    assert "SST-2's train.tsv has 40 rows, so all 40 rows calibrate, not 128" in caplog.text
    assert few_rows(SST2, 128) == ""


def test_assumed_order_of_labels_is_logged(sst2, tokenizer, caplog):
    """A checkpoint that does not name its labels is read in the official order, which is said once."""
    caplog.set_level(logging.INFO)
    evaluation_loader(SST2, sst2, bert(), tokenizer)
    calibration_loader(SST2, sst2, bert(), tokenizer, rows=4)
    assert caplog.text.count("taken for SST-2's official order: 0 negative, 1 positive") == 1
    caplog.set_level(logging.WARNING)
    caplog.clear()
    evaluation_loader(SST2, sst2, bert(), tokenizer)
    assert not caplog.records
    evaluation_loader(SST2, sst2, bert(id2label={0: "sad", 1: "happy"}), tokenizer)
    assert "the checkpoint's labels (sad, happy) are none of SST-2's" in caplog.text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda d, t: evaluation_loader(SST2, d, bert(), t, samples=0), ConfigError, "evaluation samples 0"),
        (lambda d, t: calibration_loader(SST2, d, bert(), t, rows=0), ConfigError, "calibration samples 0: at least 1"),
        (lambda d, t: evaluation_loader(SST2, d, bert(), t, batch_size=0), ConfigError, "batch size 0: a batch holds"),
        (lambda d, t: evaluation_loader(SST2, d, bert(), t, max_length=600), ConfigError, "max length 600: the"),
        (lambda d, t: evaluation_loader(SST2, d, bert(), t, max_length=3), ConfigError, "max length 3: the model"),
        (lambda d, t: evaluation_loader(SST2, d, bert(num_labels=1), t), ModelError, "the model has 1 output, a score"),
        (lambda d, t: evaluation_loader(MRPC, d, bert(), t), DataError, "dev.tsv:1: no column '#1 String'"),
    ],
    ids=["samples", "rows", "batch size", "too long", "too short", "regression head", "another task"],
)  # fmt: skip
def test_wrong_arguments(sst2, tokenizer, make, error, message):
    """Figures out of range and a model of another kind are refused before anything runs."""
    with pytest.raises(error) as caught:
        make(sst2, tokenizer)
    assert message in str(caught.value)


def test_labels_follow_the_checkpoint(sst2, tokenizer):
    """Where the checkpoint numbers the labels its own way, the batches have its numbers."""
    model = bert(id2label={0: "positive", 1: "negative"})
    loader = evaluation_loader(SST2, sst2, model, tokenizer)
    assert loader.in_file_order([x for _, y in loader for x in y.tolist()]) == [1 - row % 2 for row in range(23)]


def test_long_rows_are_cut(sst2, tokenizer):
    """No row is longer than max_length; by default 128 or what the model takes."""
    assert max(i["input_ids"].shape[1] for i, _ in evaluation_loader(SST2, sst2, bert(), tokenizer, max_length=8)) == 8
    short = bert(max_position_embeddings=10)
    assert max(i["input_ids"].shape[1] for i, _ in evaluation_loader(SST2, sst2, short, tokenizer)) == 10


def test_scores_stay_floats(tmp_path, tokenizer):
    """STS-B's labels are floating-point scores."""
    columns = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    (tmp_path / "dev.tsv").write_text(
        f"{columns}\n0\tn\tf\t2012\t1\tn\tn\the\tran\t3\n1\tn\tf\t2012\t1\tn\tn\ta\tb\t2.5\n"
    )
    ((_, labels),) = evaluation_loader(find_task("stsb"), tmp_path, bert(num_labels=1), tokenizer)
    assert labels.is_floating_point()
    assert sorted(labels.tolist()) == [2.5, 3.0]


def test_texts_without_labels(tokenizer):
    """Sentences or pairs to predict come with their positions; the two kinds cannot be mixed."""
    loader = prediction_loader(
        [("he ran not", None), ("he", None), ("old king", None)], bert(), tokenizer, batch_size=2
    )
    assert sorted(x for _, y in loader for x in y.tolist()) == [0, 1, 2]
    assert texts_of(loader, tokenizer) == ["he ran not", "he", "old king"]
    ((inputs, _),) = prediction_loader([("he ran", "he")], bert(), tokenizer)
    assert inputs["token_type_ids"].sum() == 2
    with pytest.raises(DataError, match="line 2: has two texts, line 1 has one; give all rows the same number"):
        prediction_loader([("he", None), ("he", "ran")], bert(), tokenizer)
    with pytest.raises(DataError, match="there is nothing to tokenize; give at least one text"):
        prediction_loader([], bert(), tokenizer)


def test_rows_keep_their_numbers(tokenizer):
    """A tokenized row knows its example's row and label."""
    rows = tokenize([Example(7, "he ran", None, 1), Example(3, "he", None, 0)], tokenizer, 16)
    assert [(row.id, row.label, len(row.input_ids)) for row in rows] == [(7, 1, 4), (3, 0, 3)]


def test_squad_from_file_to_score(squad, tokenizer, tokenizer_dir):
    """Windows, batches, a model and the metric fit together: all windows come, the metric knows each by its label."""
    model = BertForQuestionAnswering(BertConfig(**SMALL)).eval()
    loader = evaluation_loader(SQUAD, squad, model, tokenizer, batch_size=4, max_length=90)
    assert len(loader.row_ids) > 3 * 2
    options = tuning_metric(SQUAD, model, tokenizer, data_dir=squad, source=tokenizer_dir, max_length=90)["squad"]
    metric = Squad(**options)
    with torch.no_grad():
        for inputs, labels in loader:
            assert inputs["input_ids"].shape[1] <= 90
            out = model(**inputs)
            metric.update(
                {"start_logits": out.start_logits.numpy(), "end_logits": out.end_logits.numpy()}, labels.numpy()
            )
    assert 0 <= metric.result() <= 100
    assert len(evaluation_loader(SQUAD, squad, model, tokenizer, samples=1, max_length=90).row_ids) * 3 == len(
        loader.row_ids
    )


def test_squad_calibration(squad, tokenizer):
    """Calibration windows are of different questions of the training file, chosen by the seed."""
    model = BertForQuestionAnswering(BertConfig(**SMALL)).eval()
    runs = [calibration_loader(SQUAD, squad, model, tokenizer, rows=4, seed=s, max_length=90) for s in (1, 1)]
    assert len(runs[0].row_ids) == 4
    assert texts_of(runs[0], tokenizer) == texts_of(runs[1], tokenizer)
    with pytest.raises(DataError, match=r"calibration samples 9: SQuAD-v1\.1's train-v1\.1\.json has 5 rows"):
        calibration_loader(SQUAD, squad, model, tokenizer, rows=9, max_length=90)
    assert len(calibration_loader(SQUAD, squad, model, tokenizer, max_length=90).row_ids) == 5


def test_real_folders(shared):
    """Real checkpoints and files give the real row counts."""
    tokenizer = load_tokenizer(shared / "checkpoints/sst2-minilm")
    model = SimpleNamespace(config=BertConfig(), forward=BertForSequenceClassification.forward)
    loader = evaluation_loader(SST2, shared / "glue/SST-2", model, tokenizer)
    assert len(loader.row_ids) == 872
    assert len(calibration_loader(SST2, shared / "glue/SST-2", model, tokenizer).row_ids) == 128
