"""Promises of ``ilit_bert.tune``: a passing model in the output folder, a missed one beside it, honest figures."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

import ilit
from ilit.errors import ArtefactError, ConfigError, DataError, ModelError
from ilit_bert.evaluate import evaluate
from ilit_bert.tune import JSON_KEYS, TuneJob, tune
from ilit_pytorch.adapter import PyTorchAdapter

# Layers this small are slower in INT8, so speed must not decide.
BY_SIZE = {"objective": "modelsize"}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    """Run folders go to ``./ilit_runs``; keep them out of the checkout."""
    monkeypatch.chdir(tmp_path)


def job(sentiment, output, **changes) -> TuneJob:
    """Return a job on the tiny checkpoint."""
    values = {"config": {"tuning": BY_SIZE}, "calibration_samples": 64, **changes}
    return TuneJob(str(sentiment / "checkpoint"), "SST-2", sentiment / "data", output, **values)


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

    assert set(JSON_KEYS) <= set(dataclasses.asdict(report))
    assert (report.task, report.metric, report.passed, report.output) == ("SST-2", "acc", True, str(output))
    assert report.accuracy >= report.target == pytest.approx(report.baseline * 0.99)
    assert report.target_sentence == f"1 % relative of {report.baseline:.4f}: at least {report.target:.4f}"
    assert report.evaluations >= 2
    assert report.speedup == pytest.approx(report.latency_fp32_ms / report.latency_int8_ms)
    assert report.size_int8_bytes < report.size_fp32_bytes
    assert report.ops_total == len(report.recipe["ops"])
    assert report.int8_kernels > 0
    assert json.dumps(dataclasses.asdict(report))
    assert steps[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_small_embeddings_stay_in_float(tuned):
    """Position and token-type embeddings are kept float by the plugin's rule; nothing else has to be."""
    report, _, _ = tuned

    assert {"bert.embeddings.position_embeddings", "bert.embeddings.token_type_embeddings"} <= set(report.ops_float)


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
    again = evaluate(output, "SST-2", sentiment / "data")

    assert again.accuracy == report.accuracy
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

    assert not report.passed
    assert report.accuracy < report.target
    assert not (tmp_path / "out").exists()
    assert report.output == str(tmp_path / "out-closest")
    assert (tmp_path / "out-closest" / "recipe.json").is_file()
    assert report.latency_int8_ms is None


def test_search_finds_planted_outliers(planted, tmp_path):
    """Given more trials the search keeps exactly the planted ops in float, besides the small embeddings."""
    folder, names = planted
    report = tune(job(folder, tmp_path / "out"))

    assert report.passed
    assert {name for name in report.ops_float if "embeddings" not in name} == set(names)


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

    assert report.interrupted
    assert (report.passed, report.evaluations) == (False, 2)
    assert (tmp_path / "out-closest" / "recipe.json").is_file()


def test_objection_of_the_objective_is_told(sentiment, tmp_path):
    """Where a recipe scores enough but costs more than float32, the report says so and is no pass."""
    slow = {"objective": "performance", "max_trials": 1}
    report = tune(job(sentiment, tmp_path / "out", config={"tuning": slow}))

    assert report.passed or any("performance: INT8 costs" in note for note in report.notes)


def test_older_tuned_model_is_replaced(tuned, sentiment):
    """A second run into the folder of the first replaces it."""
    report, output, _ = tuned
    (output / "left over").touch()
    again = tune(job(sentiment, output))

    assert again.accuracy == report.accuracy
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


MISTAKES = {
    "unknown task": (broken(task="SST2B"), ConfigError, "there is no such task"),
    "unknown metric": (broken(metric="bleu"), ConfigError, "SST-2 has no such metric; it has acc"),
    "metric of the config": (broken(config={"tuning": {"metric": {"topk": 1}}}), ConfigError, "no such metric"),
    "no checkpoint": (broken(model=str), ModelError, "config.json is missing"),
    "no data": (broken(data_dir=lambda folder: folder / "none"), DataError, "is no folder"),
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
