"""Promises of ``ilit bert benchmark``: a table or one object, whole whatever was asked for; mistakes by exit code 2."""

from __future__ import annotations

import json

import pytest

from ilit.cli import main

QUICK = ["--repeats", "2", "--loads", "0", "--batch-size", "2", "--seq-length", "8"]
CASE_KEYS = (
    "batch_size", "seq_length", "repeats", "latency_fp32_ms", "deviation_fp32_ms", "rows_per_second_fp32",
    "tokens_per_second_fp32", "latency_int8_ms", "deviation_int8_ms", "rows_per_second_int8", "tokens_per_second_int8",
    "latency_dynamic_ms", "deviation_dynamic_ms", "rows_per_second_dynamic", "tokens_per_second_dynamic", "speedup",
    "speedup_quartiles", "speedup_dynamic", "speedup_dynamic_quartiles", "speedup_over_dynamic",
    "speedup_over_dynamic_quartiles", "busy",
)  # fmt: skip
JSON_KEYS = (
    "model", "int8", "cases", "size_fp32_bytes", "size_int8_bytes", "file_fp32_bytes", "file_int8_bytes",
    "memory_fp32_bytes", "memory_int8_bytes", "memory_peak_fp32_bytes", "memory_peak_int8_bytes", "load_fp32_seconds",
    "load_int8_seconds", "int8_kernels", "threads", "cpu", "versions", "notes",
)  # fmt: skip


@pytest.fixture
def models(sentiment, tuned_sentiment):
    """Flags that name both models."""
    return ["--model", f"{sentiment / 'checkpoint'}", "--int8", f"{tuned_sentiment}"]


def test_the_figures_are_an_object(models, capsys):
    """Every figure has its name, a case for each batch size and length, and nothing else is on stdout."""
    flags = [*models, "--batch-size", "1", "--batch-size", "3", "--seq-length", "4", "--repeats", "2"]
    assert main(["bert", "benchmark", *flags, "--loads", "1", "--threads", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert tuple(told) == JSON_KEYS
    assert [tuple(case) for case in told["cases"]] == [CASE_KEYS] * 2
    assert [(case["batch_size"], case["seq_length"], case["repeats"]) for case in told["cases"]] == [
        (1, 4, 2),
        (3, 4, 2),
    ]
    assert (told["threads"], told["cpu"]["threads"]) == (1, 1)
    assert all(told[key] is not None for key in JSON_KEYS)


def test_the_figures_are_tables(models, capsys):
    """Three models a case, sizes side by side, the CPU, and what it is compared with."""
    assert main(["bert", "benchmark", *models, *QUICK]) == 0
    shown = capsys.readouterr().out
    for text in (
        "2 x 8",
        "float32",
        "INT8",
        "torch dynamic",
        "weights on disk",
        "measured on ",
        "there to compare with",
    ):
        assert text in shown


def test_float32_alone(models, capsys):
    """Without a tuned model nothing is said of INT8; without the comparison nothing of torch's."""
    assert main(["bert", "benchmark", *models[:2], *QUICK, "--no-dynamic"]) == 0
    shown = capsys.readouterr().out
    assert "2 x 8" in shown
    assert "torch dynamic" not in shown


def test_a_busy_machine_is_warned_of_on_stderr(models, capsys, monkeypatch):
    """The note is in the JSON as well."""
    spread = [1.0, 1.4, 0.6, 1.5, 0.5]
    monkeypatch.setattr("ilit_bert.benchmark.interleave", lambda passes, repeats: dict.fromkeys(passes, spread))
    assert main(["bert", "benchmark", *models, *QUICK, "--json"]) == 0
    printed = capsys.readouterr()
    assert "warning: batch 2 x 8: the machine was busy" in printed.err
    assert "the machine was busy" in json.loads(printed.out)["notes"][0]


MISTAKES = {
    "model": (["--model", "./nowhere"], "no such folder"),
    "tuned model": (["--int8", "nowhere"], "holds no tuned model"),
    "length": (["--seq-length", "65"], "takes 1 to 64 tokens"),
    "batch size": (["--batch-size", "0"], "--batch-size"),
    "threads": (["--threads", "4096"], "threads 4096: this process may use"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_exit_code_2(mistake, models, capsys):
    """One line on stderr, one object on stdout, no traceback."""
    changes, text = MISTAKES[mistake]
    code = main(["bert", "benchmark", *models, *QUICK, "--json", *changes])
    printed = capsys.readouterr()
    assert code == 2
    assert text in printed.err
    assert "Traceback" not in printed.err
    assert text in json.loads(printed.out)["error"]
