"""Promises of ``ilit_bert.suite``: every run is tried, and a mistake in the file is found before the first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ilit.errors import ConfigError, DataError
from ilit_bert import suite
from ilit_bert.suite import SuiteRun, read_suite, run_suite
from ilit_bert.tune import TuneJob

RUNS = """
defaults: {config: conf.yaml, batch_size: 8, data_dir: glue/SST-2}
runs:
  - {model: checkpoints/one, task: SST-2, output: out/one}
  - {name: second, model: org/two, task: MRPC, data_dir: glue/MRPC, output: out/two, batch-size: 16, seed: 0}
"""


def written(folder, text):
    """Return a suite file with this text."""
    (folder / "suite.yaml").write_text(text, encoding="utf-8")
    return folder / "suite.yaml"


def test_defaults_are_filled_in(tmp_path):
    """A run takes what it does not say from the defaults, and a name from task and model."""
    first, second = read_suite(written(tmp_path, RUNS))

    assert first == SuiteRun(
        "SST-2 one",
        TuneJob("checkpoints/one", "SST-2", Path("glue/SST-2"), Path("out/one"), Path("conf.yaml"), batch_size=8),
    )
    assert second.name == "second"
    assert (second.job.data_dir, second.job.batch_size, second.job.seed) == (Path("glue/MRPC"), 16, 0)


ONE = "{model: m, task: SST-2, data_dir: d, output: o"
MISTAKES = {
    "no runs": ("defaults: {}", "has no list 'runs'"),
    "empty": ("", "has no list 'runs'"),
    "no mapping": ("runs: [one]", r"runs\[0\]: is a str; give a mapping"),
    "unknown section": (f"run: []\nruns: [{ONE}}}]", "unknown key 'run'; a suite has defaults and runs; did you mean"),
    "unknown key": (f"runs: [{ONE}, outptu: x}}]", r"runs\[0\]: unknown key 'outptu'.*did you mean 'output'"),
    "missing key": ("runs: [{model: m, task: SST-2}]", r"runs\[0\]: 'data_dir' is missing; a run needs model, task"),
    "wrong type": (f"runs: [{ONE}, batch_size: big}}]", "batch_size is 'big'; give a whole number of 1 or more"),
    "out of range": (f"runs: [{ONE}, batch_size: 0}}]", "batch_size is 0; give a whole number of 1 or more"),
    "bool": (f"runs: [{ONE}, seed: true}}]", "seed is True; give a whole number of 0 or more"),
    "not text": ("defaults: {model: 3}\nruns: [{}]", "defaults: model is 3; give text"),
    "one output": (f"runs: [{ONE}}}, {ONE}}}]", r"runs\[0\] and runs\[1\] both write to o"),
    "no yaml": ("runs: [", "is no YAML"),
    "output": (
        "runs: [{model: m, task: SST-2, data_dir: d, output: /proc/o}]",
        r"runs\[0\]: output /proc/o: cannot be",
    ),
    "labels": (f"runs: [{ONE}, labels: [1, 0]}}]", r"labels is \[1, 0\]; give a list of texts, one for each of"),
    "empty label": (f"runs: [{ONE}, labels: 'a,,b'}}]", "labels is 'a,,b'; give a list of texts"),
    "flag": (f"runs: [{ONE}, allow-weak-baseline: 1}}]", "allow_weak_baseline is 1; give true or false"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake, tmp_path):
    """The error names file, run and key."""
    text, message = MISTAKES[mistake]

    with pytest.raises(ConfigError, match=message) as caught:
        read_suite(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_labels_and_weak_baselines(tmp_path):
    """Labels are a list or a text with commas, and a weak baseline is allowed run by run."""
    other = "{model: m, task: RTE, data_dir: d, output: p, labels: 'a, b'}"
    text = f"runs: [{ONE}, labels: [a, b], allow-weak-baseline: true}}, {other}]"
    first, second = read_suite(written(tmp_path, text))

    assert (first.job.labels, first.job.allow_weak_baseline) == (("a", "b"), True)
    assert (second.job.labels, second.job.allow_weak_baseline) == (("a", "b"), False)


def test_missing_file(tmp_path):
    """So is a file that is not there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_suite(tmp_path / "none.yaml")


class Report:
    """As much of a report as the loop looks at."""

    def __init__(self, interrupted=False):
        self.summary = SimpleNamespace(interrupted=interrupted)


def run(name):
    """Return a run whose model is its name."""
    return SuiteRun(name, TuneJob(name, "SST-2", Path("d"), Path(name)))


def test_failed_run_does_not_stop_the_rest(monkeypatch, caplog):
    """Mistakes and bugs are recorded with their text, and the next run is tried."""
    done = Report()

    def tune(job, _):
        errors = {"mistake": DataError("d: is no folder"), "bug": ValueError("odd\nand more")}
        if job.model in errors:
            raise errors[job.model]
        return done

    monkeypatch.setattr(suite, "tune", tune)
    results = list(run_suite((run("mistake"), run("bug"), run("good"))))

    endings = [(result.error, result.mistake) for result in results]
    assert endings == [("d: is no folder", True), ("ValueError: odd", False), ("", False)]
    assert results[2].report is done
    assert "Traceback" in caplog.text


def test_interrupted_search_ends_the_suite(monkeypatch):
    """Ctrl-C is meant for all that would follow."""
    monkeypatch.setattr(suite, "tune", lambda *_: Report(interrupted=True))

    assert len(list(run_suite((run("one"), run("two"))))) == 1
