"""A configuration's way back to YAML, every default filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ilit.config import Config, OpLimits, PartSpec, TensorLimits, TransformLimits, read_config, resolved, resolved_yaml
from ilit.criterion import Criterion
from ilit.space import CalibrationSize

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
GIVEN = sorted(file for file in CONFIGS.glob("*.yaml") if not file.name.endswith(".resolved.yaml"))

words = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8).filter(str.strip)
plain_values = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | words
options = st.dictionaries(words.filter(lambda word: word != "name"), plain_values | st.lists(plain_values), max_size=3)
tolerances = st.floats(0, 1, exclude_max=True)
counts = st.lists(st.integers(1, 10**6), min_size=1, max_size=3, unique=True)


def some(*values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw some of the values in any order, or none."""
    return st.lists(st.sampled_from(values), unique=True, max_size=len(values)).map(tuple)


algorithms = some("minmax", "kl", "percentile", "mse")
tensors = st.builds(
    TensorLimits,
    dtype=some("int8", "uint8", "float32", "bfloat16"),
    scheme=some("sym", "asym"),
    granularity=some("per_tensor", "per_channel"),
    algorithm=algorithms,
    bits=some(8, 7),
)
activations = st.builds(replace, tensors, granularity=some("per_tensor", "per_channel", "per_token"))
approaches = st.sampled_from([(), ("static",), ("dynamic",)])
op_limits = st.builds(
    OpLimits,
    pattern=words,
    dtype=some("int8", "float32", "bfloat16"),
    approach=approaches | st.just(("static", "dynamic", "weight_only")),
    weight=tensors,
    activation=activations,
).filter(lambda limits: limits != OpLimits(limits.pattern))
strengths = st.lists(st.floats(0, 1, exclude_min=True), max_size=3, unique=True).map(tuple)
transform_limits = st.builds(
    TransformLimits,
    smooth=st.none() | strengths,
    bias_correction=st.none() | st.booleans(),
    per_token=st.none() | st.booleans(),
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draw any configuration that a file can say."""
    higher = draw(st.none() | st.booleans())
    kind = draw(st.sampled_from(["relative", "absolute"]))
    named = st.builds(PartSpec, words, options)
    metric = (
        st.none() | named.filter(lambda metric: metric.name != "name") | st.builds(PartSpec, words, value=st.just(1))
    )
    unit = draw(st.sampled_from(["rows", "batches"]))
    timeout = draw(st.floats(0, 1e12))
    return Config(
        framework=draw(st.just("") | words),
        calibrations=tuple(CalibrationSize(count, unit) for count in draw(counts)),
        model_limits=draw(st.builds(OpLimits, approach=approaches, weight=tensors, activation=activations)),
        op_limits=tuple(draw(st.lists(op_limits, max_size=3, unique_by=lambda limits: limits.pattern))),
        transforms=draw(transform_limits),
        metric=draw(metric.filter(lambda metric: metric is None or metric.name != "name")),
        criterion=Criterion(kind, draw(tolerances), higher is not False),
        higher_is_better=higher,
        strategy=draw(named),
        objective=draw(st.builds(PartSpec, words)),
        timeout=timeout,
        stop=draw(st.sampled_from(["met", "budget"])),
        max_trials=draw(st.integers(1, 10**9)),
        random_seed=draw(st.integers(0, 2**32 - 1)),
        run_folder=Path(draw(words.filter(lambda word: "\0" not in word))),
        threads=draw(st.none() | st.integers(1, 512)),
        confidence=draw(st.floats(0.5, 1, exclude_min=True, exclude_max=True)),
        holdout=draw(st.floats(0, 0.9)),
    )


@given(config=configs())
@settings(deadline=None, max_examples=150)
def test_the_resolved_file_reads_back_to_an_equal_configuration(tmp_path_factory, config):
    """Whatever a run was configured with, its config.yaml configures another one alike."""
    file = tmp_path_factory.getbasetemp() / "resolved.yaml"
    file.write_text(resolved_yaml(config), encoding="utf-8")
    assert read_config(file) == config


def test_the_resolved_file_names_every_default():
    """The file of an empty configuration shows what counts."""
    assert (
        yaml.safe_load(resolved_yaml(Config()))
        == resolved(Config())
        == {
            "device": "cpu",
            "calibration": {"samples": [128]},
            "tuning": {
                "accuracy_criterion": {"relative": 0.01},
                "strategy": "basic",
                "objective": "performance",
                "timeout": 0.0,
                "stop": "met",
                "max_trials": 100,
                "random_seed": 9527,
            },
            "run": {"folder": "ilit_runs", "executor": "serial"},
            "evaluation": {"confidence": 0.95, "holdout": 0.0},
        }
    )


@pytest.mark.parametrize("file", GIVEN, ids=lambda file: file.stem)
def test_the_resolved_text_stays_as_it_was_recorded(file: Path) -> None:
    """Byte for byte, with the present and the older names of keys.

    An option that is written by default changes every text, and so every digest; then they are recorded anew.
    """
    expected = file.with_suffix(".resolved.yaml").read_text(encoding="utf-8")

    assert resolved_yaml(read_config(file)) == expected
    assert resolved_yaml(read_config(file.with_suffix(".resolved.yaml"))) == expected
