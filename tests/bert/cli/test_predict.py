"""Promises of ``ilit bert predict``: lines from a file or standard input, one prediction each."""

from __future__ import annotations

import io
import json
import sys

import pytest

from ilit.cli import main


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
