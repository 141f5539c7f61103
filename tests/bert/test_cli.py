"""Promises of ``ilit bert``: flags by both names, one JSON object on stdout, exit codes 0, 1, 2."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from ilit.adapter import Cpu
from ilit.cli import main
from ilit.recipe import Recipe
from ilit.report.console import ilit_run_finished, ilit_run_started, ilit_trial_finished
from ilit.result import TrialRecord
from ilit.run import Run
from ilit.run.journal import Header
from ilit_bert.cli.demo import demo as demo_command
from ilit_bert.cli.progress import progress
from ilit_bert.cli.tune import exit_code, show
from ilit_bert.cli.tune_suite import exit_code as suite_exit_code
from ilit_bert.cli.tune_suite import show as show_suite
from ilit_bert.demo import Demo
from ilit_bert.suite import SuiteResult
from ilit_bert.tune import JSON_KEYS, TuneReport

CONFIG = "tuning: {objective: modelsize}\nrun: {folder: runs}\n"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder of its own for each test, with a configuration that no clock decides."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.yaml").write_text(CONFIG)


@pytest.fixture
def flags(sentiment):
    """Flags of a run that passes."""
    return ["--model", f"{sentiment / 'checkpoint'}", "--task", "SST-2", "--data-dir", f"{sentiment / 'data'}"]


def test_tune_evaluate_predict(flags, capsys, tmp_path):
    """The three commands work on each other's folders, and tuned and evaluated score are the same."""
    code = main(["bert", "tune", *flags, "--output", "out", "--config", "conf.yaml", "--json"])
    tuned = json.loads(capsys.readouterr().out)

    assert code == 0
    assert tuple(tuned) == JSON_KEYS
    assert (tuned["passed"], tuned["output"]) == (True, "out")

    assert main(["bert", "evaluate", *flags[2:], "--model", "out", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["accuracy"] == tuned["accuracy"]
    assert {"metric", "accuracy", "examples", "seconds"} <= set(scored)

    (tmp_path / "lines.txt").write_text("a good film\nthe film was bad\n")
    assert main(["bert", "predict", "--model", "out", "lines.txt"]) == 0
    labels, scores = zip(*(line.split("\t") for line in capsys.readouterr().out.splitlines()), strict=True)
    assert labels == ("positive", "negative")
    assert all(0.5 <= float(score) <= 1 for score in scores)


def test_names_of_the_glue_scripts(sentiment, capsys):
    """Every flag is known by its name in Hugging Face's scripts as well; the table says target and outcome."""
    named = {
        "--model_name_or_path": sentiment / "checkpoint",
        "--task_name": "sst2",
        "--data_dir": sentiment / "data",
        "--max_seq_length": 32,
        "--per_device_eval_batch_size": 16,
        "--output_dir": "out",
    }
    code = main(["bert", "tune", *(str(item) for pair in named.items() for item in pair), "--config", "conf.yaml"])
    shown = capsys.readouterr().out

    assert code == 0
    for text in ("SST-2: passed", "1 % relative of", "at least", "model     out"):
        assert text in shown


def test_missed_criterion_is_exit_code_1(planted, capsys, tmp_path):
    """A run that misses says so, keeps the closest, and ends with 1."""
    folder, _ = planted
    (tmp_path / "conf.yaml").write_text("tuning: {objective: modelsize, max_trials: 1}")
    flags = ["--model", f"{folder / 'checkpoint'}", "--task", "SST-2", "--data-dir", f"{folder / 'data'}"]

    assert main(["bert", "tune", *flags, "--output", "out", "--config", "conf.yaml"]) == 1
    shown = capsys.readouterr().out
    assert "SST-2: missed, the closest is kept" in shown
    assert "model     out-closest" in shown


MISTAKES = {
    "task": (["--task", "SST3"], "there is no such task"),
    "model": (["--model", "./nowhere"], "no such folder"),
    "data": (["--data-dir", "nowhere"], "is no folder"),
    "config": (["--config", "none.yaml"], "none.yaml"),
    "batch size": (["--batch-size", "0"], "--batch-size"),
    "flag": (["--batchsize", "3"], "--batchsize"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_exit_code_2(mistake, flags, capsys):
    """One line on stderr, one object on stdout, no traceback."""
    changes, text = MISTAKES[mistake]
    code = main(["bert", "tune", *flags, "--output", "out", "--json", *changes])
    printed = capsys.readouterr()

    assert code == 2
    assert text in printed.err
    assert "Traceback" not in printed.err
    assert text in json.loads(printed.out)["error"]


def test_labels_in_another_order(turned, capsys):
    """Tune refuses with 2 and the flag to give, evaluate warns, and with the flag both and predict are right."""
    flags = ["--model", f"{turned / 'checkpoint'}", "--task", "SST-2", "--data-dir", f"{turned / 'data'}"]
    tuning = ["bert", "tune", *flags, "--output", "out", "--config", "conf.yaml", "--json"]
    assert main(tuning) == 2
    assert "so give --labels positive,negative" in json.loads(capsys.readouterr().out)["error"]

    assert main(["bert", "evaluate", *flags, "--json"]) == 0
    printed = capsys.readouterr()
    assert "warning: SST-2: the model scores" in printed.err
    assert "give --labels positive,negative" in json.loads(printed.out)["notes"][0]

    assert main([*tuning, "--allow-weak-baseline"]) in (0, 1)
    assert "seem to be in another order" in capsys.readouterr().err
    assert main([*tuning, "--labels", "positive, negative"]) == 0
    capsys.readouterr()
    for options in (["--model", "out"], [*flags[:2], "--labels", "positive,negative"]):
        assert main(["bert", "evaluate", *flags[2:], *options, "--json"]) == 0
        scored = json.loads(capsys.readouterr().out)
        assert (scored["accuracy"] > 0.9, scored["notes"]) == (True, [])
    Path("lines").write_text("a good film\n")
    assert main(["bert", "predict", *flags[:2], "--labels", "yes,no", "lines"]) == 0
    assert capsys.readouterr().out.startswith("yes\t")
    assert main(["bert", "predict", *flags[:2], "--labels", "yes,,no", "lines"]) == 2
    assert "labels 'yes,,no': a name is empty; separate the names by single commas" in capsys.readouterr().err


def test_predict_reads_standard_input(sentiment, capsys, monkeypatch):
    """Without a file the lines come from standard input; JSON has them as a list."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a good film\nbad film\n")))
    assert main(["bert", "predict", "--model", f"{sentiment / 'checkpoint'}", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)["predictions"]
    assert [prediction["label"] for prediction in found] == ["positive", "negative"]


@pytest.mark.parametrize(
    ("content", "text"), [(None, "cannot be read"), (b"\xff", "is not UTF-8"), (b"", "has no lines")]
)
def test_predict_refuses_unreadable_files(content, text, sentiment, capsys, tmp_path):
    """A file that is missing, not text, or empty is a mistake."""
    if content is not None:
        (tmp_path / "lines").write_bytes(content)

    assert main(["bert", "predict", "--model", f"{sentiment / 'checkpoint'}", "lines"]) == 2
    assert text in capsys.readouterr().err


def test_suite_runs_all_and_tells_the_gravest(sentiment, capsys, tmp_path):
    """A run with a mistake leaves the others their results, one table shows all, and the code is 2."""
    defaults = f"{{task: SST-2, data_dir: {sentiment / 'data'}, config: conf.yaml}}"
    good = f"{{name: good, model: {sentiment / 'checkpoint'}, output: out}}"
    (tmp_path / "suite.yaml").write_text(f"defaults: {defaults}\nruns: [{{model: ./none, output: other}}, {good}]\n")

    assert main(["bert", "tune-suite", "suite.yaml", "--json"]) == 2
    bad_run, good_run = json.loads(capsys.readouterr().out)["runs"]
    assert "no such folder" in bad_run["error"]
    assert (good_run["name"], good_run["passed"]) == ("good", True)

    assert main(["bert", "tune-suite", "suite.yaml"]) == 2
    shown = capsys.readouterr().out
    assert "failed" in shown
    assert "SST-2 none: ./none: no such folder" in shown


def reported(**changes) -> TuneReport:
    """Return a report of a run that passed, with changes."""
    values = {field.name: None for field in dataclasses.fields(TuneReport)}
    return TuneReport(**{**values, "passed": True, "output": "tuned", "interrupted": False, **changes})


GOOD, MISSED, STOPPED = reported(), reported(passed=False), reported(interrupted=True)
UNKEPT = reported(output=None)
MISTAKE, BUG = {"error": "x", "mistake": True}, {"error": "x"}
ENDINGS = {
    "all passed": ([{"report": GOOD}, {"report": GOOD}], 0),
    "one missed": ([{"report": GOOD}, {"report": MISSED}], 1),
    "one mistake": ([{"report": MISSED}, MISTAKE], 2),
    "one bug": ([MISTAKE, BUG], 70),
    "interrupted": ([{"report": STOPPED}], 130),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit_code_of_a_suite(ending):
    """The gravest ending of all runs is the suite's."""
    results, code = ENDINGS[ending]

    assert suite_exit_code([SuiteResult("n", "t", "m", **result) for result in results]) == code


@pytest.mark.parametrize(("report", "code"), [(GOOD, 0), (MISSED, 1), (UNKEPT, 1), (STOPPED, 130)])
def test_exit_code_of_a_run(report, code):
    """Met, missed, met with no model kept, interrupted."""
    assert exit_code(report) == code


PROVEN = {
    "task": "MRPC", "metric": "f1", "baseline": 0.8743, "target": 0.8656, "accuracy": 0.872, "target_sentence": "1 %",
    "drop": 0.00263, "drop_bound": 0.00866, "confidence": 0.95, "fixed": 12, "broken": 15, "rows": 1725,
    "verdict": "the drop is at most 0.87 %", "relative": True, "ops_float": (), "ops_total": 39, "reason": "met",
    "evaluations": 2, "probes": 3, "seconds": 4.0, "notes": (), "front": 2, "run": "runs/1", "output": "out",
}  # fmt: skip


def printed(show, *given) -> str:
    """Return what a function prints on a wide console."""
    console = Console(file=io.StringIO(), width=200)
    show(*given, console)
    return console.file.getvalue()


def test_what_is_proven_is_printed():
    """The drop and its bound, rounded up, stand in the table, the sentence and the front below."""
    text = printed(show, reported(**PROVEN))
    assert "drop, and its 95 % bound" in text
    assert "0.27 %, 0.87 %" in text
    assert "proven    the drop is at most 0.87 %" in text
    assert "front     2 recipes that passed, none of which beats another" in text
    absolute = printed(show, reported(**{**PROVEN, "relative": False}))
    assert "0.00263, 0.00866" in absolute


def test_what_is_not_known_is_not_printed():
    """Without predictions there is a score and nothing beside it."""
    unknown = dict.fromkeys(("drop", "drop_bound", "confidence", "fixed", "broken", "rows", "verdict"))
    text = printed(show, reported(**{**PROVEN, **unknown, "front": 1}))
    assert not any(word in text for word in ("drop", "proven", "front"))


def test_a_suite_shows_the_drop_of_each_run():
    """Drop and bound are columns, the sentences stand below."""
    results = [
        SuiteResult("one", "MRPC", "m", reported(**PROVEN)),
        SuiteResult("two", "MRPC", "m", error="no such folder"),
    ]
    text = printed(show_suite, results)
    row = next(line for line in text.splitlines() if " one " in line)
    assert [cell.strip() for cell in row.split("│")][5:8] == ["0.8720", "0.27 %", "0.87 %"]
    assert "one: the drop is at most 0.87 %\ntwo: no such folder" in text


HEADER = Header("", "pytorch", {}, Cpu("", "", "A", 1), 1, {}, "f1", "1 %", 0.9, 0.8, True, "basic", "", 100, 1, 2)
TRIAL = TrialRecord(1, Recipe(), "pruned", 0.8612, rows=512)


def test_the_bar_counts_batches_and_then_trials(monkeypatch, tmp_path):
    """The first pass counts batches; then the search's own line is shown, until the next run's first pass."""
    bars = []

    class Seen(Progress):
        """A bar that a test can look at."""

        def __init__(self, *columns, **options):
            super().__init__(*columns, **options)
            bars.append(self)

    monkeypatch.setattr("ilit_bert.cli.progress.Progress", Seen)

    def state():
        (task,) = bars[0].tasks
        return task.description, task.completed, task.total

    run = Run(tmp_path, HEADER)
    with progress("MRPC: evaluating") as step:
        step(14, 14)
        assert state() == ("MRPC: evaluating", 14, 14)
        ilit_run_started(run)
        assert state() == ("trial 1 of at most 100; f1, 1 %", 0, None)
        ilit_trial_finished(dataclasses.replace(run, trials=(TRIAL,)))
        line = "trial 2 of at most 100; the last pruned after 512 rows with at most 0.8612; f1, 1 %"
        assert state() == (line, 0, None)
        step(3, 14)
        step(1, 14)
        assert state() == (line, 1, 14)
        ilit_run_finished(run, None)
        assert state() == ("MRPC: evaluating", 0, None)


def test_demo_tunes_and_says_what_it_planted(planted, capsys, tmp_path, monkeypatch):
    """The demo's checkpoint is tuned by the same path, and the planted ops are named as found."""
    folder, names = planted
    made = Demo(folder / "checkpoint", folder / "data", names, 2.0**20, 1, 60)
    monkeypatch.setattr("ilit_bert.demo.make", lambda *_, on_step, **__: on_step(1, 0.5) or made)

    assert main(["bert", "demo", "--output", "demo"]) == 0
    printed = capsys.readouterr()
    assert f"planted   {', '.join(names)}: repaired by the search, 2 in float32 and 0 in INT8" in printed.out
    assert "planted outliers" in printed.err

    assert main(["bert", "demo", "--output", "demo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["planted"], told["found"], told["evaluations"] > 2) == (list(names), True, True)
    assert (tmp_path / "demo" / "tuned" / "recipe.json").is_file()


def test_demo_default_steps_are_those_of_the_work():
    """The command's default, written out so that torch stays unloaded, is the module's."""
    from ilit_bert import demo

    assert demo_command.__defaults__[1] == demo.STEPS
