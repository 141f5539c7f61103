"""What is registered, and what a configuration is given for a task."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ilit.errors import ModelError
from ilit.metric import Metric
from ilit_bert.metrics.glue import Corr, Glue, Mcc
from ilit_bert.metrics.squad import Squad
from ilit_bert.metrics.table import METRICS, tuning_metric
from ilit_bert.tasks.table import find_task


def test_registered_metrics():
    """All have the protocol's shape and names of their own, none of them another plugin's."""
    names = [metric.name for metric in METRICS]
    assert names == ["glue", "squad", "acc_and_f1", "mcc", "pearson", "spearmanr", "corr"]
    assert not {"topk", "accuracy", "f1", "mse", "rmse", "mae"} & set(names)
    assert all(metric.higher_is_better for metric in METRICS)
    assert all(isinstance(made, Metric) for made in (Glue("mrpc"), Mcc(), Corr()))


def model_with(*names, positions=512):
    """What is looked at of a model."""
    ids = dict(enumerate(names))
    return SimpleNamespace(config=SimpleNamespace(id2label=ids, max_position_embeddings=positions))


def test_tuning_metric_of_glue(tokenizer):
    """The configuration's metric is plain data; F1's positive class follows the checkpoint's numbering."""
    given = {"data_dir": "d", "source": "s"}
    flipped = model_with("equivalent", "not_equivalent")
    assert tuning_metric(find_task("mrpc"), flipped, tokenizer, **given) == {
        "glue": {"task": "MRPC", "metric": "f1", "positive": 0}
    }
    assert tuning_metric(find_task("mrpc"), flipped, tokenizer, **given, metric="ACC") == {
        "glue": {"task": "MRPC", "metric": "acc"}
    }
    with pytest.raises(ModelError, match="without MRPC's 'not_equivalent'"):
        tuning_metric(find_task("mrpc"), model_with("equivalent", "other"), tokenizer, **given)


def test_tuning_metric_of_squad(tmp_path, tokenizer, tokenizer_dir):
    """The options of ``squad`` cut the very windows that the loader cuts, and are enough to make the metric."""
    entry = {"id": "1", "question": "who?", "answers": [{"text": "king", "answer_start": 2}]}
    content = {"data": [{"paragraphs": [{"context": "a king ran .", "qas": [entry]}]}]}
    (tmp_path / "dev-v2.0.json").write_text(json.dumps(content))
    task, model = find_task("squad2"), model_with(positions=256)
    options = tuning_metric(task, model, tokenizer, data_dir=tmp_path, source=tokenizer_dir)["squad"]
    assert json.loads(json.dumps(options)) == options
    assert (options["metric"], options["max_length"], options["doc_stride"]) == ("best_f1", 256, 94)
    assert Squad(**options).name == "squad"
