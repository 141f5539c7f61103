"""Promises of ``ilit_bert.tune``: a passing model in the output folder, a missed one beside it, honest figures."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

import ilit
from ilit.errors import ArtefactError, ConfigError, DataError, EvaluationError, ModelError
from ilit_bert.evaluate import EvaluateJob, evaluate
from ilit_bert.predict import predict
from ilit_bert.tune import TuneJob, tune
from ilit_pytorch import PyTorchAdapter

# Layers this small are slower in INT8, so speed must not decide.
BY_SIZE = {"objective": "modelsize"}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Run folders go to ``./ilit_runs``; keep them out of the checkout."""
    monkeypatch.chdir(tmp_path)


def job(sentiment, output, **changes) -> TuneJob:
    """Return a job on the tiny checkpoint."""
    values = {"data_dir": sentiment / "data", "config": {"tuning": BY_SIZE}, "calibration_samples": 64, **changes}
    return TuneJob(str(sentiment / "checkpoint"), "SST-2", output=output, **values)


@pytest.fixture(scope="module")
def tuned(sentiment, tmp_path_factory):
    """One run that passes: its report and its output folder."""
    folder = tmp_path_factory.mktemp("tuned")
    steps = []
    config = {"tuning": BY_SIZE, "run": {"folder": str(folder / "runs")}}
    report = tune(job(sentiment, folder / "out", config=config), lambda *step: steps.append(step))
    return report, folder / "out", steps


def test_report_tells_what_was_asked_and_found(tuned):
    """The report holds every figure the command promises, and they agree with each other."""
    report, output, steps = tuned

    summary, trial = report.summary, report.summary.chosen
    assert (report.task, summary.asked.metric, summary.passed, report.output) == ("SST-2", "acc", True, output)
    assert trial.accuracy >= summary.asked.target == pytest.approx(summary.asked.baseline * 0.99)
    asked = f"1 % relative of {summary.asked.baseline:.4f}: at least {summary.asked.target:.4f}"
    assert summary.criterion == asked
    assert summary.effort.evaluations >= 2
    assert trial.cost.speedup == pytest.approx(trial.cost.latency_fp32_ms / trial.cost.latency_int8_ms)
    assert trial.cost.size_int8_bytes < trial.cost.size_fp32_bytes
    assert summary.ops_total == len(trial.ops.recipe["ops"])
    assert trial.cost.int8_kernels > 0
    assert steps[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_small_embeddings_stay_in_float(tuned):
    """Position and token-type embeddings are kept float by the plugin's rule; nothing else has to be."""
    report, _, _ = tuned

    assert {"bert.embeddings.position_embeddings", "bert.embeddings.token_type_embeddings"} <= set(
        report.summary.chosen.ops.ops_float
    )


def test_tuned_folder_is_whole_and_without_pickle(tuned):
    """The folder holds safetensors, JSON and Markdown, and names transformers' own class."""
    _, output, _ = tuned
    names = {file.name for file in output.iterdir()}

    assert {"config.json", "model.safetensors", "recipe.json", "tokenizer.json", "README.md"} <= names
    assert {file.suffix for file in output.iterdir()} <= {".json", ".safetensors", ".md", ".jinja", ".txt"}
    assert json.loads((output / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    assert "--task SST-2 --metric acc" in (output / "README.md").read_text()


def test_tuned_folder_scores_the_same(tuned, sentiment):
    """Loaded from its folder alone, the model gives the score of the search to the last digit."""
    report, output, _ = tuned
    again = evaluate(EvaluateJob(output, "SST-2", sentiment / "data"))

    assert again.accuracy == report.summary.chosen.accuracy
    assert (again.metric, again.examples) == ("acc", 120)


def test_tuned_folder_loads_by_itself(tuned, tokenizer):
    """``ilit.load`` builds the architecture from the folder, without the float checkpoint."""
    _, output, _ = tuned
    model = ilit.load(output)
    batch = tokenizer(["a good film", "a very old bad film"], padding=True, return_tensors="pt")

    with torch.no_grad():
        assert model(**batch).logits.shape == (2, 2)


def test_missed_run_keeps_the_closest_beside(planted, tmp_path):
    """A run that nothing passes leaves ``output`` alone and saves the closest under that name."""
    folder, _ = planted
    report = tune(job(folder, tmp_path / "out", config={"tuning": {**BY_SIZE, "max_trials": 1}}))

    assert not report.summary.passed
    assert report.summary.chosen.accuracy < report.summary.asked.target
    assert not (tmp_path / "out").exists()
    assert report.output == tmp_path / "out-closest"
    assert (tmp_path / "out-closest" / "recipe.json").is_file()
    assert report.summary.chosen.cost.latency_int8_ms is None


def test_search_finds_planted_outliers(planted, tmp_path):
    """Given more trials the search keeps exactly the planted ops in float, besides the small embeddings."""
    folder, names = planted
    report = tune(job(folder, tmp_path / "out"))

    assert report.summary.passed
    assert {name for name in report.summary.chosen.ops.ops_float if "embeddings" not in name} == set(names)


def test_interrupted_run_keeps_the_best_so_far(planted, tmp_path, monkeypatch):
    """Ctrl-C in the second trial leaves the first, which missed, as the closest, and the report says so."""
    folder, _ = planted
    evaluate_float, tried = PyTorchAdapter.evaluate, []

    def interrupt_second(self, model, *arguments, **options):
        tried.extend([model] if self.int8_kernels(model) else [])
        if len(tried) == 2:
            raise KeyboardInterrupt
        return evaluate_float(self, model, *arguments, **options)

    monkeypatch.setattr(PyTorchAdapter, "evaluate", interrupt_second)
    report = tune(job(folder, tmp_path / "out"))

    assert report.summary.interrupted
    assert (report.summary.passed, report.summary.effort.evaluations) == (False, 2)
    assert (tmp_path / "out-closest" / "recipe.json").is_file()


def test_objection_of_the_objective_is_told(sentiment, tmp_path):
    """Where a recipe scores enough but costs more than float32, the report says so and is no pass."""
    slow = {"objective": "performance", "max_trials": 1}
    report = tune(job(sentiment, tmp_path / "out", config={"tuning": slow}))

    assert report.summary.passed or any("performance: INT8 costs" in note for note in report.notes)


def test_older_tuned_model_is_replaced(tuned, sentiment):
    """A second run into the folder of the first replaces it."""
    report, output, _ = tuned
    (output / "left over").touch()
    again = tune(job(sentiment, output))

    assert again.summary.chosen.accuracy == report.summary.chosen.accuracy
    assert not (output / "left over").exists()


def broken(**changes):
    """Return a function that makes a job with these changes, values that are functions called with the folder."""

    def make(sentiment, folder):
        plain = {key: value(folder) if callable(value) else value for key, value in changes.items()}
        return dataclasses.replace(job(sentiment, folder / "out"), **plain)

    return make


def _folder_with(name):
    def make(folder):
        (folder / "taken").mkdir()
        (folder / "taken" / name).touch()
        return folder / "taken"

    return make


def _below_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "out"


MISTAKES = {
    "unknown task": (broken(task="SST2B"), ConfigError, "there is no such task"),
    "unknown metric": (broken(metric="bleu"), ConfigError, "SST-2 has no such metric; it has acc"),
    "metric of the config": (broken(config={"tuning": {"metric": {"topk": 1}}}), ConfigError, "no such metric"),
    "no checkpoint": (broken(model=str), ModelError, "config.json is missing"),
    "no data": (broken(data_dir=lambda folder: folder / "none"), DataError, "is no folder"),
    "output nowhere": (broken(output=lambda _: Path("/proc/out")), ArtefactError, "/proc/out: cannot be written"),
    "output below a file": (broken(output=_below_a_file), ArtefactError, "file/out: cannot be written"),
    "labels": (broken(labels=("good", "bad")), ConfigError, "SST-2's are negative, positive; name each once"),
    "output in use": (broken(output=_folder_with("thesis.tex")), ArtefactError, "is not empty and holds no tuned"),
    "too many calibration rows": (broken(calibration_samples=10**6), DataError, "has 320 rows; ask for fewer"),
    "config": (broken(config={"tuning": {"strateg": "basic"}}), ConfigError, "strategy"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake, sentiment, tmp_path):
    """Each mistake is an error of one line that names place and cure, raised before any search."""
    make, kind, text = MISTAKES[mistake]

    with pytest.raises(kind) as caught:
        tune(make(sentiment, tmp_path))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ilit_runs").exists()


def test_tuned_model_is_not_tuned_again(tuned, sentiment, tmp_path):
    """A tuned folder given as the model is refused with the reason."""
    _, output, _ = tuned

    with pytest.raises(ModelError, match="is tuned already; name the float checkpoint"):
        tune(dataclasses.replace(job(sentiment, tmp_path / "out"), model=str(output)))


def test_labels_in_another_order_are_refused(turned, sentiment, tmp_path):
    """A checkpoint read in the wrong order is no baseline: refused before a trial, with the order and its score."""
    right = evaluate(EvaluateJob(sentiment / "checkpoint", "SST-2", sentiment / "data")).accuracy
    with pytest.raises(EvaluationError) as caught:
        tune(job(turned, tmp_path / "out"))

    assert f"float32 scores acc {1 - right:.4f} on 120 examples, no better than always answering" in str(caught.value)
    assert f"read as positive, negative it would be {right:.4f}, so give --labels positive,negative" in str(
        caught.value
    )
    assert ", or give --allow-weak-baseline to tune all the same" in str(caught.value)
    assert not list((tmp_path / "ilit_runs").glob("*/journal.jsonl"))
    assert not (tmp_path / "out").exists()


def test_labels_that_were_given_are_kept(turned, tmp_path):
    """Given the order the checkpoint tunes, and its folder needs no telling again, nor does its answer's name."""
    report = tune(job(turned, tmp_path / "out", labels=("positive", "negative")))
    assert report.summary.passed
    assert report.summary.asked.baseline > 0.9

    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"] == {"0": "positive", "1": "negative"}
    again = evaluate(EvaluateJob(tmp_path / "out", "SST-2", turned / "data"))
    assert (again.accuracy, again.notes) == (report.summary.chosen.accuracy, ())
    assert [found.label for found in predict(tmp_path / "out", [("a good film", None)])] == ["positive"]


def test_weak_baseline_may_be_tuned_all_the_same(turned, tmp_path):
    """The flag tunes, and the report keeps what was to be said against it and what was assumed."""
    report = tune(job(turned, tmp_path / "out", allow_weak_baseline=True))

    assert report.summary.asked.baseline < 0.1
    assert any("its labels seem to be in another order" in note for note in report.notes)
    assert any("(LABEL_0, LABEL_1), which are taken for SST-2's official order" in note for note in report.notes)


def test_perfectly_wrong_answers_are_told_as_such(turned, tmp_path):
    """A score of 0, of which no share can be lost, is told by its cause and not by the criterion."""
    data = shutil.copytree(turned / "data", tmp_path / "data")
    lines = (data / "dev.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    found = predict(turned / "checkpoint", [(text, None) for text, _ in rows])
    wrong = [line for line, (_, label), one in zip(lines[1:], rows, found, strict=True) if one.label[-1] != label]
    (data / "dev.tsv").write_text("\n".join([lines[0], *wrong]) + "\n")
    with pytest.raises(EvaluationError, match=r"scores acc 0\.0000 .* give --labels positive,negative"):
        tune(job(turned, tmp_path / "out", data_dir=data))


def test_the_check_needs_no_pass_of_its_own(sentiment, tmp_path, monkeypatch):
    """The float32 model is evaluated over the whole dev split once."""
    evaluate_all, passes = PyTorchAdapter.evaluate, []

    def count(self, model, loader, metric, on_batch=None):
        rows = []
        score = evaluate_all(self, model, loader, metric, lambda n: (rows.append(n), on_batch and on_batch(n)))
        passes.extend([metric] if sum(rows) == 120 and not self.int8_kernels(model) else [])
        return score

    monkeypatch.setattr(PyTorchAdapter, "evaluate", count)
    assert tune(job(sentiment, tmp_path / "out")).summary.passed
    assert len(passes) == 1


@pytest.fixture
def short(sentiment, tmp_path):
    """The data of ``sentiment`` with 60 training rows."""
    data = shutil.copytree(sentiment / "data", tmp_path / "data")
    (data / "train.tsv").write_text("\n".join((data / "train.tsv").read_text().splitlines()[:61]) + "\n")
    return data


def test_default_takes_the_training_rows_there_are(sentiment, short, tmp_path):
    """With no number asked for, 60 rows calibrate; report and run folder say so."""
    report = tune(job(sentiment, tmp_path / "out", data_dir=short, calibration_samples=None))

    assert report.summary.passed
    assert "SST-2's train.tsv has 60 rows, so all 60 rows calibrate, not 128" in report.notes
    assert "samples:\n  - 60\n" in (report.summary.folder / "config.yaml").read_text()


AMOUNTS = {
    "samples": {"calibration": {"samples": 128}},
    "list form": {"calibration": [{"samples": [16, 128]}]},
    "batches": {"calibration": {"iterations": 4}},
    "older name": {"quantization": {"calibration": {"sampling_size": 128}}},
}


@pytest.mark.parametrize("amount", [*AMOUNTS, "file", "flag"])
def test_amounts_that_were_asked_for_are_refused(amount, sentiment, short, tmp_path):
    """A number from the configuration or the flag is a wish, also where it is the default's."""
    changes = {"calibration_samples": 128} if amount == "flag" else {"calibration_samples": None}
    if amount in AMOUNTS:
        changes["config"] = AMOUNTS[amount]
    if amount == "file":
        changes["config"] = tmp_path / "conf.yaml"
        changes["config"].write_text("calibration:\n  samples: 128\n")
    with pytest.raises(DataError, match=r"calibration samples 128: SST-2's train\.tsv has 60 rows; ask for fewer"):
        tune(job(sentiment, tmp_path / "out", data_dir=short, **changes))


def test_other_keys_of_calibration_are_no_amount(sentiment, short, tmp_path):
    """An algorithm leaves the number to the default."""
    config = {"tuning": BY_SIZE, "calibration": {"algorithm": {"activation": "minmax"}}}
    report = tune(job(sentiment, tmp_path / "out", data_dir=short, config=config, calibration_samples=None))
    assert report.summary.passed


@pytest.fixture
def questions(tmp_path, tokenizer):
    """A folder with an untrained model for question answering and small SQuAD 2.0 files."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **sizes)
    transformers.BertForQuestionAnswering(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    asked = [
        {"id": f"{n}", "question": "who was good ?", "is_impossible": bool(n % 2), "answers": [] if n % 2 else [answer]}
        for answer in [{"text": "king", "answer_start": 8}]
        for n in range(24)
    ]
    for split, qas in (("train", asked[:6]), ("dev", asked)):
        paragraph = {"context": "the old king of normandy was not a very good king .", "qas": qas}
        (tmp_path / f"{split}-v2.0.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    return tmp_path


def test_answers_worse_than_none_are_refused(questions):
    """On SQuAD 2.0 a model has to beat saying "no answer" to all; told to, it is tuned, on the few rows there are."""
    config = {"tuning": {**BY_SIZE, "accuracy_criterion": {"absolute": 100}}}
    asked = TuneJob(str(questions / "model"), "SQuAD-v2.0", questions, questions / "out", config, metric="f1")
    with pytest.raises(
        EvaluationError, match=r"on 24 examples, no better than always answering 'no answer' \(50\.0000\)"
    ):
        tune(asked)
    report = tune(dataclasses.replace(asked, allow_weak_baseline=True))
    assert any("no better than always answering 'no answer'" in note for note in report.notes)
    assert "SQuAD-v2.0's train-v2.0.json has 6 rows, so all 6 rows calibrate, not 128" in report.notes


def test_casing_in_doubt_is_told(turned, tmp_path):
    """What speaks against the tokenizer's files stands in the report, and in the refusal of a weak baseline."""
    folder = shutil.copytree(turned, tmp_path / "cased")
    file = json.loads((folder / "checkpoint" / "tokenizer.json").read_text())
    vocab = file["model"]["vocab"]
    file["model"]["vocab"] = {
        f"{piece[:1].upper()}{piece[1:]}" if piece in ("king", "born") else piece: index
        for piece, index in vocab.items()
    }
    (folder / "checkpoint" / "tokenizer.json").write_text(json.dumps(file))
    doubt = "the tokenizer lowercases, but 2 of its vocabulary's"
    with pytest.raises(EvaluationError, match=f"in another order.*{doubt}"):
        tune(job(folder, tmp_path / "out"))
    report = tune(job(folder, tmp_path / "out", labels=("positive", "negative")))
    assert any(doubt in note for note in report.notes)
    assert not any("float32 scores" in note for note in report.notes)

    dev = folder / "data" / "dev.tsv"
    dev.write_text("\n".join(dev.read_text().splitlines()[:3]) + "\n")  # too few to show anything
    with pytest.raises(EvaluationError, match=f"on 2 examples.*{doubt}"):
        tune(job(folder, tmp_path / "out", labels=("positive", "negative")))
