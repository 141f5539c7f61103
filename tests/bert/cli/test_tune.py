"""Promises of ``ilit bert``: flags by both names, one JSON object on stdout, exit codes 0, 1, 2."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ilit.adapter import Cpu
from ilit.cli import main
from ilit.evidence import Evidence
from ilit.recipe import FLOAT32, Recipe
from ilit.report import figures, summary_of_result
from ilit.report.verdict import sentence
from ilit.result import TrialRecord, TuneResult
from ilit_bert.cli.tune import as_mapping, exit_code, show
from ilit_bert.cli.tune_suite import exit_code as suite_exit_code
from ilit_bert.cli.tune_suite import show as show_suite
from ilit_bert.suite import SuiteResult
from ilit_bert.tune import TuneReport

# What scripts read: neither names nor order change.
JSON_KEYS = (
    "task", "metric", "baseline", "target", "accuracy", "passed", "drop", "drop_bound", "confidence", "fixed", "broken",
    "rows", "verdict", "evaluations", "probes", "seconds", "ops_total", "ops_float", "recipe", "latency_fp32_ms",
    "latency_int8_ms", "speedup", "size_fp32_bytes", "size_int8_bytes", "int8_kernels", "cpu", "output",
)  # fmt: skip


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


FOUND = Evidence(1725, 12, 15, 0.7, 0.00263, 0.00866, 0.95, 0.01, "tango", 1)
PASSED = TrialRecord(1, Recipe({"a": FLOAT32}), "passed", 0.872, rows=1725, evidence=FOUND)


def reported(*, output="out", trial=PASSED, front=(), **changes) -> TuneReport:
    """Return a report of a run that passed, with changes to its result."""
    result = TuneResult(
        met=True, reason="met", metric="f1", baseline=0.8743, target=0.8656, best=trial, closest=trial, trials=(trial,),
        front=(), probes=3, evaluations=2, seconds=4.0, cpu=Cpu("a CPU", "avx2", "A", 2), folder=Path("runs/1"),
        criterion="1 %",
    )  # fmt: skip
    summary = summary_of_result(dataclasses.replace(result, **changes))
    return TuneReport("MRPC", dataclasses.replace(summary, front=front), (), output and Path(output))


GOOD, MISSED, STOPPED = reported(), reported(met=False), reported(interrupted=True)
UNKEPT = reported(output=None)
MISTAKE, BUG = {"error": "x", "mistake": True}, {"error": "x"}
ENDINGS = {
    "all passed": ([{"report": GOOD}, {"report": GOOD}], 0),
    "one missed": ([{"report": GOOD}, {"report": MISSED}], 1),
    "one mistake": ([{"report": MISSED}, MISTAKE], 2),
    "one bug": ([MISTAKE, BUG], 70),
    "interrupted": ([{"report": STOPPED}], 130),
}


def test_json_has_every_figure_by_the_summarys_name():
    """Task and folder are the command's own; two figures have older names."""
    report = reported()
    told, wanted = as_mapping(report), figures(report.summary)
    assert tuple(told) == JSON_KEYS
    assert told.keys() - wanted.keys() == {"task", "fixed", "broken", "output"}
    assert wanted.keys() - told.keys() == {"gained", "lost"}
    assert (told["fixed"], told["broken"]) == (wanted["gained"], wanted["lost"]) == (12, 15)


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit_code_of_a_suite(ending):
    """The gravest ending of all runs is the suite's."""
    results, code = ENDINGS[ending]

    assert suite_exit_code([SuiteResult("n", "t", "m", **result) for result in results]) == code


@pytest.mark.parametrize(("report", "code"), [(GOOD, 0), (MISSED, 1), (UNKEPT, 1), (STOPPED, 130)])
def test_exit_code_of_a_run(report, code):
    """Met, missed, met with no model kept, interrupted."""
    assert exit_code(report) == code


def printed(show, *given) -> str:
    """Return what a function prints on a wide console."""
    console = Console(file=io.StringIO(), width=200)
    show(*given, console)
    return console.file.getvalue()


def test_what_is_proven_is_printed():
    """The drop and its bound, rounded up, stand in the table, the sentence and the front below."""
    text = printed(show, reported(front=(None, None)))
    assert "drop, and its 95 % bound" in text
    assert "0.27 %, 0.87 %" in text
    assert "proven    the drop is at most 0.87 %" in text
    assert "asked     f1, 1 %" in text
    assert "front     2 recipes that passed, none of which beats another" in text
    found = dataclasses.replace(FOUND, relative=False)
    absolute = printed(show, reported(trial=dataclasses.replace(PASSED, evidence=found)))
    assert "0.00263, 0.00866" in absolute


def test_what_is_not_known_is_not_printed():
    """Without predictions there is a score and nothing beside it."""
    text = printed(show, reported(trial=dataclasses.replace(PASSED, evidence=None)))
    assert not any(word in text for word in ("drop", "proven", "front"))


def test_a_suite_shows_the_drop_of_each_run():
    """Drop and bound are columns, the sentences stand below."""
    results = [
        SuiteResult("one", "MRPC", "m", reported()),
        SuiteResult("two", "MRPC", "m", error="no such folder"),
    ]
    text = printed(show_suite, results)
    row = next(line for line in text.splitlines() if " one " in line)
    assert [cell.strip() for cell in row.split("│")][5:8] == ["0.8720", "0.27 %", "0.87 %"]
    assert f"one: {sentence(FOUND)}\ntwo: no such folder" in text
