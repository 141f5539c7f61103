"""``ilit init``: a configuration to start from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.cli import main
from ilit.cli.init import template
from ilit.config import Config, TransformLimits, read_config
from ilit.config.options import OPTIONS


@pytest.fixture(autouse=True)
def _here(installed, tmp_path, monkeypatch):
    """Work in an empty folder, with no plugin installed."""
    monkeypatch.chdir(tmp_path)
    installed()


def test_what_is_written_says_the_defaults(capsys):
    """The file is read without a change and asks for what an empty one does, with its framework named."""
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "wrote conf.yaml\n"
    assert read_config("conf.yaml") == Config(framework="pytorch")


def test_sections_are_explained_and_comments_stand_in_one_column():
    """Keys stand in their place among the others, not in the table's; what needs more room ends three blanks before."""
    keys = ("device", "calibration.samples", "quantization.bits.weight", "tuning.stop", "tuning.max_trials")
    few = replace(OPTIONS, options=tuple(option for option in OPTIONS.options if option.key in keys))
    assert template(few).splitlines()[3:] == [
        "# How much calibration data the static ranges come from: samples (rows) or iterations (batches).",
        "calibration:",
        '  samples: 128                    # [64, 256] or the text "64, 256": each is a candidate',
        "",
        "# What the search may use. What is left out is up to the search.",
        "quantization:",
        "  # bits: {weight: [8, 7], activation: [8, 7]}   # codes really used; the CPU decides which are safe",
        "",
        "tuning:",
        "  max_trials: 100",
        "  # stop: met                     # or budget: go on to better ones until timeout or max_trials",
    ]


def test_every_line_that_is_commented_out_can_be_used():
    """Removing the marks before keys leaves a file that is read."""
    uncommented = re.sub(r"^(\s*)# (?=( {2})*(?:[\w]+|\"[^\"]+\"):( |$))", r"\1", template(), flags=re.MULTILINE)
    Path("all.yaml").write_text(uncommented)
    config = read_config("all.yaml")
    assert config.metric is not None
    assert config.threads == 4
    assert config.model_limits.weight.granularity == ("per_channel",)
    assert config.model_limits.activation.algorithm == ("minmax", "percentile", "mse", "kl")
    assert config.transforms == TransformLimits((0.7, 0.9), bias_correction=True, per_token=True)
    assert [entry.pattern for entry in config.op_limits] == ["*.classifier"]


def test_a_file_that_is_there_stays_as_it_is(capsys):
    """Nothing is ever overwritten."""
    Path("mine.yaml").write_text("device: cpu\n")
    assert main(["init", "mine.yaml"]) == 2
    assert capsys.readouterr().err == (
        "error: mine.yaml: exists already and stays as it is; name another file, or remove it\n"
    )
    assert Path("mine.yaml").read_text() == "device: cpu\n"


def test_a_folder_that_is_missing_is_told(capsys):
    """A path that cannot be written is one line."""
    assert main(["init", "no/conf.yaml"]) == 2
    assert capsys.readouterr().err == (
        "error: no/conf.yaml: cannot be written: No such file or directory; name another file\n"
    )


def test_json_names_the_file(capsys):
    """For scripts, the file written."""
    assert main(["init", "other.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "other.yaml"}
