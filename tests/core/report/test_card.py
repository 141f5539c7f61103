"""The model card says what was asked, what came out, and where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.adapter import Cpu, KernelCalls, KernelProfile, Measurement
from ilit.evidence.record import Evidence
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.report.card import card, result_json, write_card
from ilit.report.receipt import RECEIPT, Receipt, read_receipt
from ilit.report.summary import Summary, summary_of_run
from ilit.report.verdict import sentence
from ilit.result import TrialRecord
from ilit.run.records import Finished, Header
from ilit.run.state import Run

INT8 = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))
HEADER = Header(
    "2026-11-23T21:27:05", "pytorch", {"ilit": "0.1.0", "torch": "2.13.0"}, Cpu("a CPU", "avx2", "A", 2), 9527, {},
    "f1", "1 % relative of 0.9042: at least 0.8952", 0.9042, 0.895158, True, "basic", "performance", 100, 3, 27,
)  # fmt: skip
PASSED = TrialRecord(
    4, Recipe({"a": INT8, "b": FLOAT32, "c": INT8}), "passed", 0.9, cost=Measurement(0.01, 1500, 1),
    float_cost=Measurement(0.02, 6000, 1), int8_kernels=2,
)  # fmt: skip
MEDIANS = "medians of interleaved passes"
EVIDENCE = Evidence(1725, 12, 15, 0.701, 0.00174, 0.00866, 0.95, 0.01, "tango", 1)
MISSED = TrialRecord(5, Recipe(dict.fromkeys("abc", INT8)), "missed", 0.5)


def told(record: TrialRecord, header: Header = HEADER) -> Summary:
    """Return the summary of a run that ended with this record."""
    met = record.accepted
    finished = Finished("the end", met, best=record.number if met else None, closest=record.number)
    return summary_of_run(Run(Path("run"), header, (record,), finished=finished))


@pytest.mark.parametrize(
    ("record", "lines"),
    [
        pytest.param(
            PASSED,
            [
                "This model meets its criterion.",
                "| metric | f1 (higher is better) |",
                "| float32 | 0.9042 |",
                "| asked | 1 % relative of 0.9042: at least 0.8952 |",
                "| INT8 | 0.9000 |",
                f"| forward pass | 10 ms in INT8, 20 ms in float32, 2.00 times as fast ({MEDIANS}) |",
                "| size | 1,500 bytes in INT8, 6,000 in float32 |",
                "| ops in INT8 | 2 of 3 |",
                "| ops in float | `b` |",
                "| tuned on | a CPU, avx2, 2 threads |",
                "| CPU class | A (16-bit intermediates can saturate) |",
                "| tuned with | ilit 0.1.0, torch 2.13.0 |",
                "| date | 2026-11-23T21:27:05 |",
            ],
            id="passed",
        ),
        pytest.param(MISSED, ["This model **misses its criterion**.", "| ops in float | none |"], id="missed"),
        pytest.param(
            replace(PASSED, objection="performance: slower"),
            ["This model **misses its criterion**.", "| note | performance: slower |"],
            id="objected to",
        ),
    ],
)
def test_the_card_tells_all(record: TrialRecord, lines: list[str]) -> None:
    """Accuracy, target, float ops, CPU class and name, versions and date, and whether it passed."""
    text = card(HEADER, told(record)).splitlines()
    assert [line for line in lines if line not in text] == []


def test_what_stays_in_float_has_its_reason() -> None:
    """In the card and for programs; a card of a model that is quantized whole has no such row."""
    header = replace(HEADER, left_in_float={"d": "its forward was replaced", "e": "no INT8 kernel"})
    row = "| left in float | d stays in float: its forward was replaced; e stays in float: no INT8 kernel |"
    assert row in card(header, told(PASSED, header)).splitlines()
    assert result_json(header, told(PASSED, header))["left_in_float"] == dict(header.left_in_float)
    assert "left in float" not in card(HEADER, told(PASSED))


def test_what_was_not_measured_is_left_out() -> None:
    """A recipe that missed was not timed, and its card says nothing of times, nor of a drop it has no figures of."""
    assert "| drop |" not in card(HEADER, told(MISSED))
    assert "forward pass" not in card(HEADER, told(MISSED))
    assert "size" not in card(HEADER, told(MISSED))


def test_the_card_tells_what_is_proven() -> None:
    """The drop, the sentence with its bound, and what flipped; a score that is a bound is told as one."""
    text = card(HEADER, told(replace(PASSED, evidence=EVIDENCE))).splitlines()
    assert "| drop | 0.18 % of the float32 score |" in text
    assert f"| bound | {sentence(EVIDENCE)} |" in text
    assert "| flips | 12 rows fixed, 15 broken of 1725, McNemar p 0.7 |" in text
    plain = replace(EVIDENCE, gained=None, lost=None, p_value=None, relative=False, method="bootstrap")
    text = card(HEADER, told(replace(PASSED, evidence=plain))).splitlines()
    assert "| drop | 0.00174 |" in text
    assert not any(line.startswith("| flips") for line in text)
    stopped = replace(MISSED, status="pruned", rows=512)
    assert "| INT8 | at most 0.5000 (pruned after 512 rows) |" in card(HEADER, told(stopped))


def test_programs_find_the_proof() -> None:
    """``result.json`` has drop, bound, confidence, flips, rows and sentence, null where they are not known."""
    data = result_json(HEADER, told(replace(PASSED, evidence=EVIDENCE)))
    keys = ("drop", "drop_bound", "confidence", "gained", "lost", "rows", "verdict")
    assert [data[key] for key in keys] == [0.00174, 0.00866, 0.95, 12, 15, 1725, sentence(EVIDENCE)]
    assert [result_json(HEADER, told(PASSED))[key] for key in keys] == [None] * 7


def test_programs_find_the_objection() -> None:
    """It is null where there is none, and not the run's ``reason`` for ending."""
    slow = result_json(HEADER, told(replace(PASSED, objection="performance: slower")))
    assert (slow["objection"], slow["passed"]) == ("performance: slower", False)
    fast = result_json(HEADER, told(PASSED))
    assert (fast["objection"], fast["passed"]) == (None, True)


def test_the_kernels_that_ran_are_told_where_they_are_known(tmp_path: Path) -> None:
    """In one line of the card, and in a file of their own."""
    write_card(tmp_path, HEADER, told(PASSED))
    assert "| kernels |" not in card(HEADER, told(PASSED))
    assert not (tmp_path / RECEIPT).exists()
    calls = (KernelCalls("mul", ("a",), 2, 0.03, 8), KernelCalls("mul", ("c",), 1, 0.03, 4))
    receipt = Receipt(KernelProfile(calls, (KernelCalls("add", (), 1, 0.04, 4),)), 2)
    write_card(tmp_path, HEADER, told(PASSED), receipt)
    assert "| kernels | 3 INT8 kernels ran in one batch, 60 % of its time |" in (tmp_path / "README.md").read_text()
    assert read_receipt(tmp_path) == receipt


def test_both_files_are_written(tmp_path: Path) -> None:
    """``result.json`` has the same figures for programs, with a format version and units in the names."""
    write_card(tmp_path, HEADER, told(PASSED))
    assert (tmp_path / "README.md").read_text() == card(HEADER, told(PASSED))
    data = json.loads((tmp_path / "result.json").read_text())
    assert data == json.loads(json.dumps(result_json(HEADER, told(PASSED))))
    assert (data["version"], data["accuracy"], data["ops_float"], data["ops_total"]) == (2, 0.9, ["b"], 3)
    assert (data["latency_int8_ms"], data["size_fp32_bytes"], data["cpu"]["int8_class"]) == (10, 6000, "A")
    assert (data["trial"], data["digest"], data["objection"]) == (4, PASSED.recipe.digest, None)
