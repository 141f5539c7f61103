"""What is wrong with a configuration: one line each, with place, fact and cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError, UnsupportedError

BROKEN: dict[str, tuple[str, str]] = {
    "syntax": (
        "tuning:\n  timeout: [1, 2\n",
        (
            "conf.yaml:3: not YAML: expected ',' or ']', but got '<stream end>'; "
            "check indentation, colons and quotes there"
        ),
    ),
    "tab": (
        "tuning:\n\ttimeout: 1\n",
        (
            "conf.yaml:2: not YAML: found character '\\t' that cannot start any token; "
            "check indentation, colons and quotes there"
        ),
    ),
    "two documents": (
        "device: cpu\n---\ndevice: cpu\n",
        "conf.yaml:2: not YAML: but found another document; check indentation, colons and quotes there",
    ),
    "control character": (
        "run:\n  key: c\x07pu\n",
        "conf.yaml:2: not YAML: the character '\\x07'; remove it",
    ),
    "a tag": (
        "device: !!python/name:os.system\n",
        "conf.yaml:1: device: the tag !!python/name:os.system is not read; write the plain value",
    ),
    "a scalar file": (
        "just text",
        "conf.yaml:1: 'just text' stands where keys are expected; write 'key: value' under it",
    ),
    "unknown section": ("tunning: {timeout: 1}", "conf.yaml:1: tunning: unknown key; did you mean 'tuning'?"),
    "unknown key": (
        "tuning:\n  max_trial: 1\n",
        "conf.yaml:2: tuning.max_trial: unknown key; did you mean 'max_trials'?",
    ),
    "key in the wrong section": (
        "calibration:\n  timeout: 1\n",
        "conf.yaml:2: calibration.timeout: unknown key; did you mean 'tuning.timeout'?",
    ),
    "key like none": (
        "run:\n  zzz: 1\n",
        "conf.yaml:2: run.zzz: unknown key; known here: folder, resume, key, threads, executor",
    ),
    "key twice": (
        "tuning:\n  timeout: 0\n  timeout: 1\n",
        "conf.yaml:3: tuning.timeout: given twice (first on line 2); keep one",
    ),
    "key twice in list form": (
        "tuning:\n- timeout: 0\n- max_trials: 1\n- timeout: 0\n",
        "conf.yaml:4: tuning.timeout: given twice (first on line 2); keep one",
    ),
    "section twice": (
        "device: cpu\ntuning: {timeout: 0}\ntuning: {stop: met}\n",
        "conf.yaml:3: tuning: given twice (first on line 2); keep one",
    ),
    "option twice": (
        "tuning:\n  strategy:\n    name: mse\n    depth: 1\n    depth: 2\n",
        "conf.yaml:5: tuning.strategy.depth: given twice (first on line 4); keep one",
    ),
    "older and present name": (
        "snapshot: {path: a}\nrun: {folder: b}\n",
        "conf.yaml:2: run.folder: cannot stand beside snapshot.path (line 1); keep one",
    ),
    "relative and absolute": (
        "tuning:\n  accuracy_criterion:\n    - relative: 0.01\n    - absolute: 1\n",
        (
            "conf.yaml:4: tuning.accuracy_criterion.absolute: cannot stand beside "
            "tuning.accuracy_criterion.relative (line 3); keep one"
        ),
    ),
    "samples and iterations": (
        "calibration:\n  samples: 64\n  iterations: 2\n",
        "conf.yaml:3: calibration.iterations: cannot stand beside calibration.samples (line 2); keep one",
    ),
    "section as a value": (
        "framework: pytorch\n",
        "conf.yaml:1: framework: 'pytorch' stands where keys are expected; write 'key: value' under it",
    ),
    "plain value among keys": (
        "tuning:\n- timeout: 0\n- stop\n",
        "conf.yaml:3: tuning: 'stop' stands in a list of keys; write 'key: value', or '- key: value'",
    ),
    "no value": ("tuning:\n  timeout:\n", "conf.yaml:2: tuning.timeout: has no value; give it one, or remove the key"),
    "empty list": (
        "calibration:\n  samples: []\n",
        "conf.yaml:2: calibration.samples: has no value; give it one, or remove the key",
    ),
    "list for one value": (
        "tuning:\n  stop: [met, budget]\n",
        "conf.yaml:2: tuning.stop: takes one value, not 2; keep one",
    ),
    "mapping for a value": (
        "tuning:\n  timeout: {seconds: 3}\n",
        "conf.yaml:2: tuning.timeout: takes one plain value, not a mapping; write 'key: value' on one line",
    ),
    "text for a number": (
        "tuning:\n  timeout: soon\n",
        "conf.yaml:2: tuning.timeout: 'soon' is no number; give 0 or more",
    ),
    "negative timeout": ("tuning:\n  timeout: -1\n", "conf.yaml:2: tuning.timeout: -1 is out of range; give 0 or more"),
    "boolean for a number": (
        "tuning:\n  timeout: yes\n",
        "conf.yaml:2: tuning.timeout: true is no number; give 0 or more",
    ),
    "NaN": (
        "tuning: {accuracy_criterion: {absolute: .nan}}",
        "conf.yaml:1: tuning.accuracy_criterion.absolute: nan is out of range; give 0 or more",
    ),
    "infinite": ("tuning: {timeout: .inf}", "conf.yaml:1: tuning.timeout: inf is out of range; give 0 or more"),
    "relative of one": (
        "tuning: {accuracy_criterion: {relative: 1}}",
        "conf.yaml:1: tuning.accuracy_criterion.relative: 1 is out of range; give 0 to below 1, such as 0.01 or '1%'",
    ),
    "negative per cent": (
        "tuning: {accuracy_criterion: {relative: -1%}}",
        (
            "conf.yaml:1: tuning.accuracy_criterion.relative: '-1%' is out of range; "
            "give 0 to below 1, such as 0.01 or '1%'"
        ),
    ),
    "per cent of nothing": (
        "tuning: {accuracy_criterion: {absolute: 1%}}",
        "conf.yaml:1: tuning.accuracy_criterion.absolute: '1%' is no number; give 0 or more",
    ),
    "no trials": ("tuning: {max_trials: 0}", "conf.yaml:1: tuning.max_trials: 0 is out of range; give 1 or more"),
    "half a trial": (
        "tuning: {max_trials: 1.5}",
        "conf.yaml:1: tuning.max_trials: 1.5 is no whole number; give 1 or more",
    ),
    "boolean threads": ("run: {threads: true}", "conf.yaml:1: run.threads: true is no whole number; give 1 or more"),
    "seed": (
        "tuning: {random_seed: -3}",
        "conf.yaml:1: tuning.random_seed: -3 is out of range; give 0 to 4294967295",
    ),
    "direction": (
        "tuning: {accuracy_criterion: {higher_is_better: up}}",
        "conf.yaml:1: tuning.accuracy_criterion.higher_is_better: 'up' is neither true nor false; write one of them",
    ),
    "iterations in words": (
        "calibration: {iterations: 10; 50}",
        (
            "conf.yaml:1: calibration.iterations: '10; 50' is no whole number; "
            "give 1 or more, a list, or a text like '10, 50'"
        ),
    ),
    "no iterations": (
        "calibration:\n  iterations:\n  - 1\n  - 0\n",
        "conf.yaml:4: calibration.iterations: 0 is out of range; give 1 or more",
    ),
    "iterations twice": (
        "calibration: {iterations: '5, 5'}",
        "conf.yaml:1: calibration.iterations: 5 is given twice; keep one",
    ),
    "algorithm": (
        "calibration:\n  algorithm:\n    weight: min_max\n",
        (
            "conf.yaml:3: calibration.algorithm.weight: 'min_max' is unknown; "
            "choose minmax, kl, percentile or mse; did you mean 'minmax'?"
        ),
    ),
    "candidate twice": (
        "quantization: {activation: {scheme: [sym, sym]}}",
        "conf.yaml:1: quantization.activation.scheme: 'sym' is given twice; keep one",
    ),
    "bits": (
        "quantization: {bits: {weight: [8, 6]}}",
        "conf.yaml:1: quantization.bits.weight: 6 is unknown; choose 8 or 7",
    ),
    "approach": (
        "quantization: {approach: quant_aware_training}",
        (
            "conf.yaml:1: quantization.approach: 'quant_aware_training' is unknown; "
            "choose post_training_static_quant, post_training_dynamic_quant or auto"
        ),
    ),
    "device": ("device: gpu", "conf.yaml:1: device: 'gpu' is not supported; ilit tunes for 'cpu' only"),
    "framework as a number": ("framework: {name: 3}", "conf.yaml:1: framework.name: 3 is no text; put it in quotes"),
    "two metrics": (
        "tuning:\n  metric: {topk: 1, f1: }\n",
        "conf.yaml:2: tuning.metric: takes exactly one metric, not 2 (topk, f1); keep one",
    ),
    "strategy without a name": (
        "tuning:\n  strategy: {depth: 2}\n",
        "conf.yaml:2: tuning.strategy: has no name; write 'name: ...' beside the options",
    ),
    "op without limits": (
        "tuning:\n  ops:\n    conv1:\n",
        "conf.yaml:3: tuning.ops.conv1: says nothing about the op; write 'dtype: float32' or other limits under it",
    ),
    "op's unknown key": (
        "tuning:\n  ops:\n    conv1: {weights: {dtype: int8}}\n",
        "conf.yaml:3: tuning.ops.conv1.weights: unknown key; did you mean 'weight'?",
    ),
    "op's dtype": (
        "tuning:\n  ops:\n    conv1: {dtype: uint8}\n",
        (
            "conf.yaml:3: tuning.ops.conv1.dtype: 'uint8' is unknown; "
            "choose int8, float32, fp32, bfloat16 or bf16; did you mean 'int8'?"
        ),
    ),
    "weights per token": (
        "quantization: {weight: {granularity: per_token}}",
        (
            "conf.yaml:1: quantization.weight.granularity: 'per_token' is unknown; "
            "choose per_tensor or per_channel; did you mean 'per_tensor'?"
        ),
    ),
    "unknown transform": (
        "quantization:\n  transforms: {smoth: 0.7}\n",
        "conf.yaml:2: quantization.transforms.smoth: unknown key; did you mean 'smooth'?",
    ),
    "transforms as a word": (
        "quantization:\n  transforms: smooth\n",
        (
            "conf.yaml:2: quantization.transforms: 'smooth' is unknown; "
            "write none, or a mapping of smooth, bias_correction, per_token"
        ),
    ),
    "no strength": (
        "quantization:\n  transforms:\n    smooth: [0.7, 0]\n",
        (
            "conf.yaml:3: quantization.transforms.smooth: 0 is out of range; "
            "give above 0 to 1, such as 0.7 or [0.7, 0.9], or none"
        ),
    ),
    "strength twice": (
        "quantization: {transforms: {smooth: [0.7, 70%]}}",
        "conf.yaml:1: quantization.transforms.smooth: '70%' is given twice; keep one",
    ),
    "strength in words": (
        "quantization: {transforms: {smooth: true}}",
        (
            "conf.yaml:1: quantization.transforms.smooth: true is no number; "
            "give above 0 to 1, such as 0.7 or [0.7, 0.9], or none"
        ),
    ),
    "per token as a number": (
        "quantization: {transforms: {per_token: 1}}",
        "conf.yaml:1: quantization.transforms.per_token: 1 is neither true nor false; write one of them",
    ),
    "confidence of a coin": (
        "evaluation:\n  confidence: 50%\n",
        ("conf.yaml:2: evaluation.confidence: '50%' is out of range; give above 0.5 to below 1, such as 0.95 or '95%'"),
    ),
    "certainty": (
        "evaluation: {confidence: 1}",
        "conf.yaml:1: evaluation.confidence: 1 is out of range; give above 0.5 to below 1, such as 0.95 or '95%'",
    ),
    "nothing left to search on": (
        "evaluation: {holdout: 0.95}",
        "conf.yaml:1: evaluation.holdout: 0.95 is out of range; give 0 to 0.9, such as 0.2 or '20%'",
    ),
    "endless alias": (
        "tuning: &t\n  strategy: *t\n",
        "conf.yaml:2: tuning.strategy: refers to itself; remove the alias (*)",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_gives_one_line_with_place_fact_and_cure(conf, text, message):
    """Each mistake is a ConfigError whose text is exactly this line."""
    with pytest.raises(ConfigError) as caught:
        read_config(conf(text))
    assert str(caught.value) == message


NOT_BUILT: dict[str, tuple[str, str]] = {
    "resume": ("run: {resume: auto}", "run.resume: 'auto' is not built yet; write 'never', or remove it"),
    "key": ("run: {key: mine}", "run.key: resuming a run by its key is not built yet; remove it"),
    "key of any kind": ("run: {key: [1, 2]}", "run.key: resuming a run by its key is not built yet; remove it"),
    "executor": (
        "run: {executor: {name: ray}}",
        "run.executor: executor 'ray' is not used yet, installed or not; write 'serial', or remove it",
    ),
}


@pytest.mark.parametrize(("text", "message"), NOT_BUILT.values(), ids=NOT_BUILT)
def test_what_is_not_built_is_refused_by_name(conf, text, message):
    """A documented key that nothing uses yet is an UnsupportedError in one line, never ignored."""
    with pytest.raises(UnsupportedError) as caught:
        read_config(conf(text))
    assert str(caught.value) == f"conf.yaml:1: {message}"


def test_of_several_mistakes_the_first_is_told(conf):
    """The file's order decides, whatever kind the mistakes are of."""
    with pytest.raises(ConfigError, match=r"^conf.yaml:1: device: "):
        read_config(conf("device: gpu\ntuning: {timeout: -1}\nzzz: 1\ndevice: cpu\n"))
    with pytest.raises(ConfigError, match=r"^conf.yaml:1: zzz: "):
        read_config(conf("zzz: 1\ndevice: gpu\n"))


def test_nested_aliases_cannot_fill_the_memory(conf):
    """Aliases of aliases, which would expand without bounds, are refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100000 values"):
        read_config(conf("\n".join(lines)))


def test_brackets_without_end_are_refused(conf):
    """A file nested beyond any sense is a mistake, not a crash."""
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_config(conf("[" * 5000))


FILES: dict[str, tuple[str, str]] = {
    "missing": ("nope.yaml", "nope.yaml: no such file; give a configuration's path, or write one with 'ilit init'"),
    "folder": (".", ".: cannot be read: Is a directory; give a readable YAML file"),
    "binary": ("binary.yaml", "binary.yaml: not text in UTF-8; save it as a UTF-8 text file"),
}


@pytest.mark.parametrize(("name", "message"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, name, message):
    """No file, a folder and a binary file are each told in one line."""
    monkeypatch.chdir(tmp_path)
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00device")
    with pytest.raises(ConfigError) as caught:
        read_config(name)
    assert str(caught.value) == message


PYTHON: dict[str, tuple[Any, dict[str, Any], str]] = {
    "mapping": ({"tuning": {"timeout": -1}}, {}, "Tuner(...): tuning.timeout: -1 is out of range; give 0 or more"),
    "keywords": (None, {"tuning": {"stop": 3}}, "Tuner(...): tuning.stop: 3 is unknown; choose met or budget"),
    "unknown keyword": (None, {"tunin": {}}, "Tuner(...): tunin: unknown key; did you mean 'tuning'?"),
    "object": (
        {"device": object},
        {},
        "Tuner(...): device: a type is no configuration value; give text, a number, a list or a mapping",
    ),
    "key that is no text": ({"tuning": {1.5: 2}}, {}, "Tuner(...): tuning: the key 1.5 is not text; quote it"),
    "source of another type": (
        3,
        {},
        "Tuner(...): a configuration is a file's path or a mapping, not a int; give one of them",
    ),
}


@pytest.mark.parametrize(("source", "overrides", "message"), PYTHON.values(), ids=PYTHON)
def test_mistakes_from_python_have_the_same_form_without_a_line(source, overrides, message):
    """Mappings and keyword arguments are told as Tuner(...)."""
    with pytest.raises(ConfigError) as caught:
        read_config(source, **overrides)
    assert str(caught.value) == message
