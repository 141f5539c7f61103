"""Reading a configuration: its forms, its values, its older names, and what wins over what."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilit.config import Config, OpLimits, PartSpec, TensorLimits, TransformLimits, keys_given, read_config
from ilit.criterion import Criterion
from ilit.space import CalibrationSize

OLDER_TOOL = """
framework:
  - name: pytorch

device: cpu

tuning:
    accuracy_criterion:
      - relative: 0.01
    timeout: 0
    random_seed: 9527
"""


def test_the_older_tools_file_is_read_as_it_is(conf):
    """The file in the documentation gives the defaults and its framework."""
    assert read_config(conf(OLDER_TOOL)) == Config(framework="pytorch")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "tuning:\n", "{}", "tuning: []"])
def test_what_says_nothing_gives_the_defaults(conf, text):
    """An empty file, and a section without keys, are all defaults."""
    assert read_config(conf(text)) == Config() == read_config()


FORMS = {
    "mappings": "tuning: {strategy: {name: mse, depth: 2}, accuracy_criterion: {absolute: 0.5}}",
    "list of single keys": """
tuning:
  - strategy:
      - name: mse
      - depth: 2
  - accuracy_criterion:
      - absolute: 0.5
""",
    "lists of several keys": """
- tuning:
  - strategy: {name: mse, depth: 2}
    accuracy_criterion: [absolute: 0.5]
""",
    "merge key": "tuning: {strategy: {<<: {name: random, depth: 2}, name: mse}, accuracy_criterion: {absolute: 0.5}}",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_list_form_and_mapping_form_mean_the_same(conf, text):
    """Lists of mappings are their union, at any depth and mixed with mappings; a merge key fills gaps only."""
    config = read_config(conf(text))
    assert config == Config(strategy=PartSpec("mse", {"depth": 2}), criterion=Criterion("absolute", 0.5))


def test_an_alias_means_what_its_anchor_says(conf):
    """Anchors and aliases are plain YAML and read as such."""
    config = read_config(conf("quantization: {weight: &w {scheme: sym}, activation: *w}"))
    assert config.model_limits.weight == config.model_limits.activation == TensorLimits(scheme=("sym",))


def one(**fields: Any) -> Config:
    """Return a configuration in which only these fields are said."""
    return Config(**fields)


def limited(**tensors: TensorLimits) -> Config:
    """Return a configuration that limits only the whole model's tensors."""
    return Config(model_limits=OpLimits(**tensors))


VALUES: dict[str, tuple[str, Config]] = {
    "iterations as text": (
        "calibration: {iterations: '10, 50'}",
        one(calibrations=(CalibrationSize(10, "batches"), CalibrationSize(50, "batches"))),
    ),
    "iterations as bare text": (
        "calibration:\n  - iterations: 10,50\n",
        one(calibrations=(CalibrationSize(10, "batches"), CalibrationSize(50, "batches"))),
    ),
    "samples as list": (
        "calibration: {samples: [64, 8]}",
        one(calibrations=(CalibrationSize(64), CalibrationSize(8))),
    ),
    "per cent": ("tuning: {accuracy_criterion: {relative: 1%}}", one()),
    "exponent, which YAML reads as text": (
        "tuning: {accuracy_criterion: {absolute: 5e-1}}",
        one(criterion=Criterion("absolute", 0.5)),
    ),
    "relative 0": ("tuning: {accuracy_criterion: {relative: 0}}", one(criterion=Criterion("relative", 0.0))),
    "lower is better": (
        "tuning: {accuracy_criterion: {higher_is_better: false}}",
        one(criterion=Criterion(higher_is_better=False), higher_is_better=False),
    ),
    "timeout searches to its end": ("tuning: {timeout: 60}", one(timeout=60.0, stop="budget")),
    "timeout with a stop of its own": ("tuning: {timeout: 60, stop: met}", one(timeout=60.0, stop="met")),
    "budget without a timeout": ("tuning: {stop: budget}", one(stop="budget")),
    "metric by bare name": ("tuning: {metric: f1}", one(metric=PartSpec("f1"))),
    "metric with a plain value": ("tuning: {metric: {topk: 1}}", one(metric=PartSpec("topk", value=1))),
    "metric in list form": ("tuning: {metric: [topk: 1]}", one(metric=PartSpec("topk", value=1))),
    "metric with options": (
        "tuning: {metric: {f1: {average: macro}}}",
        one(metric=PartSpec("f1", {"average": "macro"})),
    ),
    "metric by name and options": (
        "tuning: {metric: {name: f1, average: macro}}",
        one(metric=PartSpec("f1", {"average": "macro"})),
    ),
    "metric without a value": ("tuning: {metric: {f1: }}", one(metric=PartSpec("f1"))),
    "approach": (
        "quantization: {approach: post_training_dynamic_quant}",
        one(model_limits=OpLimits(approach=("dynamic",))),
    ),
    "approach auto says nothing": ("quantization: {approach: auto}", one()),
    "algorithms": (
        "calibration: {algorithm: {weight: kl, activation: [mse, kl]}}",
        limited(weight=TensorLimits(algorithm=("kl",)), activation=TensorLimits(algorithm=("mse", "kl"))),
    ),
    "bits": ("quantization: {bits: {activation: [7, 8]}}", limited(activation=TensorLimits(bits=(7, 8)))),
    "fp32 is float32": ("quantization: {weight: {dtype: fp32}}", limited(weight=TensorLimits(dtype=("float32",)))),
    "transforms none": ("quantization: {transforms: none}", one(transforms=TransformLimits((), False, False))),
    "transforms none in list form": (
        "quantization: {transforms: [none]}",
        one(transforms=TransformLimits((), False, False)),
    ),
    "transforms": (
        "quantization: {transforms: {smooth: [0.7, 90%], bias_correction: true, per_token: false}}",
        one(transforms=TransformLimits((0.7, 0.9), True, False)),
    ),
    "transforms in list form": (
        "quantization:\n- transforms:\n  - smooth: 0.7\n  - per_token: true\n",
        one(transforms=TransformLimits((0.7,), None, True)),
    ),
    "strength 1": ("quantization: {transforms: {smooth: 1}}", one(transforms=TransformLimits((1.0,)))),
    "smooth none": ("quantization: {transforms: {smooth: none}}", one(transforms=TransformLimits(()))),
    "smooth false": ("quantization: {transforms: {smooth: false}}", one(transforms=TransformLimits(()))),
    "transforms that say nothing": ("quantization: {transforms: }", one()),
    "per token": (
        "quantization: {activation: {granularity: [per_token, per_tensor]}}",
        limited(activation=TensorLimits(granularity=("per_token", "per_tensor"))),
    ),
    "bf16 is bfloat16": (
        "quantization: {weight: {dtype: [int8, bf16]}}",
        limited(weight=TensorLimits(("int8", "bfloat16"))),
    ),
    "an op's bfloat16 and per token": (
        "tuning: {ops: {a: {dtype: [int8, bfloat16], activation: {granularity: per_token}}}}",
        one(op_limits=(OpLimits("a", ("int8", "bfloat16"), activation=TensorLimits(granularity=("per_token",))),)),
    ),
    "confidence": ("evaluation: {confidence: 0.9}", one(confidence=0.9)),
    "confidence in per cent": ("evaluation: {confidence: 99%}", one(confidence=0.99)),
    "holdout": ("evaluation: {holdout: 0.5}", one(holdout=0.5)),
    "holdout in per cent": ("evaluation: [holdout: '20%']", one(holdout=0.2)),
    "parts not built, at rest": ("run: {resume: never, executor: serial}\nevaluation: {holdout: 0}", one()),
    "run": (
        "run: {folder: /tmp/runs, threads: 2}",
        one(run_folder=Path("/tmp/runs"), threads=2),  # noqa: S108 - never created
    ),
    "list of one": ("tuning: {max_trials: [7], strategy: [mse]}", one(max_trials=7, strategy=PartSpec("mse"))),
}


@pytest.mark.parametrize(("text", "expected"), VALUES.values(), ids=VALUES)
def test_values_mean_what_the_documentation_says(conf, text, expected):
    """Each documented spelling of a value gives its configuration."""
    assert read_config(conf(text)) == expected


def test_op_names_are_taken_as_written_and_in_order(conf):
    """An op called 1.10 is no number, and the file's order is kept, for the last glob to win."""
    text = 'tuning:\n  ops:\n    1.10: {dtype: float32}\n    "*": [{approach: auto}, {weight: {bits: 7}}]\n'
    everything = ("static", "dynamic", "weight_only")
    assert read_config(conf(text)).op_limits == (
        OpLimits("1.10", dtype=("float32",)),
        OpLimits("*", approach=everything, weight=TensorLimits(bits=(7,))),
    )


def test_places_are_kept_for_later_errors(conf):
    """What only plugins can check remembers file, line and key."""
    config = read_config(conf("tuning:\n  strategy: mse\n  ops:\n    conv1: {dtype: int8}\n"))
    assert config.strategy.where == "conf.yaml:2: tuning.strategy"
    assert config.op_limits[0].where == "conf.yaml:4: tuning.ops.conv1"
    assert config.source == "conf.yaml"


OLDER_NAMES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "snapshot.path": ({"snapshot": {"path": "here"}}, {"run": {"folder": "here"}}, "run.folder"),
    "tuning.metrics": ({"tuning": {"metrics": "f1"}}, {"tuning": {"metric": "f1"}}, "tuning.metric"),
    "quantization.op_wise": (
        {"quantization": {"op_wise": {"a": {"dtype": "float32"}}}},
        {"tuning": {"ops": {"a": {"dtype": "float32"}}}},
        "tuning.ops",
    ),
    "quantization.calibration.sampling_size": (
        {"quantization": {"calibration": {"sampling_size": "8, 16"}}},
        {"calibration": {"samples": [8, 16]}},
        "calibration.samples",
    ),
    "quantization.model_wise.weight.scheme": (
        {"quantization": {"model_wise": {"weight": {"scheme": "sym"}}}},
        {"quantization": {"weight": {"scheme": "sym"}}},
        "quantization.weight.scheme",
    ),
    "quantization.model_wise.activation.algorithm": (
        {"quantization": {"model_wise": {"activation": {"algorithm": "kl"}}}},
        {"calibration": {"algorithm": {"activation": "kl"}}},
        "calibration.algorithm.activation",
    ),
    "tuning.exit_policy.timeout": (
        {"tuning": {"exit_policy": {"timeout": 5}}},
        {"tuning": {"timeout": 5}},
        "tuning.timeout",
    ),
    "tuning.exit_policy.max_trials": (
        {"tuning": {"exit_policy": {"max_trials": 5}}},
        {"tuning": {"max_trials": 5}},
        "tuning.max_trials",
    ),
    "evaluation.accuracy.metric": (
        {"evaluation": {"accuracy": {"metric": {"topk": 5}}}},
        {"tuning": {"metric": {"topk": 5}}},
        "tuning.metric",
    ),
    "model.framework": ({"model": {"framework": "pytorch"}}, {"framework": {"name": "pytorch"}}, "framework.name"),
}


@pytest.mark.parametrize(("older", "present", "name"), OLDER_NAMES.values(), ids=OLDER_NAMES)
def test_older_names_are_read_with_one_line_in_the_log(older, present, name, caplog, request):
    """Each older name gives the same configuration as the present one, and says which that is."""
    caplog.set_level(logging.INFO, logger="ilit")
    assert read_config(older) == read_config(present)
    spelled = request.node.callspec.id
    assert caplog.messages == [f"Tuner(...): {spelled}: the present name is {name}"]


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    """A file saved by an editor that writes the mark reads like any other."""
    file = tmp_path / "conf.yaml"
    file.write_text("device: cpu\n", encoding="utf-8-sig")
    assert read_config(file) == Config()


def test_python_values_of_other_types_are_read():
    """NumPy's numbers, tuples and paths are what they stand for."""
    config = read_config({"tuning": {"max_trials": np.int64(3), "timeout": np.float32(2)}}, run={"folder": Path("x")})
    assert (config.max_trials, config.timeout, config.run_folder) == (3, 2.0, Path("x"))
    assert read_config(calibration={"samples": (8, 16)}) == read_config(calibration={"samples": [8, 16]})


def test_keywords_win_over_the_file_key_by_key(conf):
    """An override replaces its key and what cannot stand beside it, and leaves the rest."""
    text = "calibration: {iterations: 3}\ntuning: {strategy: {name: mse, depth: 2}, max_trials: 5}\n"
    config = read_config(conf(text), calibration={"samples": 9}, tuning={"strategy": "basic"})
    assert config == Config(calibrations=(CalibrationSize(9),), strategy=PartSpec("basic"), max_trials=5)


GIVEN: dict[str, tuple[Any, set[str]]] = {
    "nothing": (None, set()),
    "an empty section": ({"tuning": None}, set()),
    "lists and older names": (
        {"tuning": [{"timeout": 0}, {"metrics": "f1"}], "snapshot": {"path": "x"}},
        {"tuning.timeout", "tuning.metric", "run.folder"},
    ),
}


@pytest.mark.parametrize(("source", "keys"), GIVEN.values(), ids=GIVEN)
def test_the_keys_given_are_told_by_their_present_names(source, keys, caplog):
    """What a configuration says itself can be told from what it leaves to the defaults, without a line in the log."""
    caplog.set_level(logging.INFO, logger="ilit")
    assert keys_given(source) == keys
    assert caplog.messages == []


def test_the_keys_given_in_a_file_are_found(conf):
    """A path is read as ``read_config`` does."""
    assert keys_given(conf("calibration: {samples: 128}")) == {"calibration.samples"}
