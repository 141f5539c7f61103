"""What commands print: one JSON object and nothing else, or text for a reader."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from ilit.cli import only_json, report


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.5, 0.5),
        (math.nan, None),
        (math.inf, None),
        (Path("a/b"), "a/b"),
        ((1, [2.5, -math.inf]), [1, [2.5, None]]),
        ({1: {"x": Path("y")}}, {"1": {"x": "y"}}),
        (None, None),
        (True, True),
    ],
    ids=repr,
)
def test_every_value_is_strict_json(capsys: pytest.CaptureFixture[str], value: Any, written: Any) -> None:
    """JSON has no NaN and no infinity, paths are text, and any depth is gone through."""
    report({"value": value}, as_json=True, show=lambda _: pytest.fail("shown as well"))

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    assert json.loads(capsys.readouterr().out, parse_constant=refuse) == {"value": written}


def test_a_reader_is_shown_the_same_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the command's own words are printed, and no JSON."""
    report({"value": 1}, as_json=False, show=lambda console: console.print("one"))

    assert capsys.readouterr() == ("one\n", "")


@pytest.mark.parametrize("as_json", [True, False])
def test_what_libraries_print_stays_out_of_the_json(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """It goes to stderr while the block runs, with --json alone; afterwards stdout is as before."""
    with only_json(as_json):
        sys.stdout.write("noise\n")
    sys.stdout.write("{}\n")

    out = capsys.readouterr()
    assert (out.out, out.err) == (("{}\n", "noise\n") if as_json else ("noise\n{}\n", ""))
