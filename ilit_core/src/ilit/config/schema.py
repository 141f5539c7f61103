"""YAML, a mapping or keyword arguments -> one frozen ``Config``; every error with its line and key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ilit.config.keys import ParsedValue, Schema, collect, overlay
from ilit.config.model import Config, OpLimits, PartSpec, TensorLimits, TransformLimits
from ilit.config.readers import (
    Reader,
    choice,
    choices,
    counts,
    flag,
    not_yet,
    one_or_more,
    real,
    share,
    share_within,
    text,
    whole,
)
from ilit.config.tree import Node, entries, from_python, from_yaml, plain
from ilit.criterion import Criterion
from ilit.errors import ConfigError
from ilit.recipe import Approach
from ilit.space import CalibrationSize

ALGORITHMS = {name: name for name in ("minmax", "kl", "percentile", "mse")}
APPROACHES: dict[str, tuple[Approach, ...]] = {
    "post_training_static_quant": ("static",),
    "post_training_dynamic_quant": ("dynamic",),
    "auto": ("static", "dynamic", "weight_only"),
}
_AUTO = APPROACHES["auto"]
_SCHEMES = {"sym": "sym", "asym": "asym"}
_PER = {"per_tensor": "per_tensor", "per_channel": "per_channel"}
_GRANULARITIES = {"weight": _PER, "activation": {**_PER, "per_token": "per_token"}}
_FLOATS = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
_CODES = {"int8": "int8", "uint8": "uint8"}
_BITS = {"8": 8, "7": 7}

TENSORS = ("weight", "activation")
TENSOR_KEYS: dict[str, dict[str, Reader]] = {
    tensor: {
        "dtype": choices({**_CODES, **_FLOATS}),
        "scheme": choices(_SCHEMES),
        "granularity": choices(_GRANULARITIES[tensor]),
        "algorithm": choices(ALGORITHMS),
        "bits": choices(_BITS),
    }
    for tensor in TENSORS
}
_OP_SCHEMA = Schema(
    {
        "dtype": choices({"int8": "int8", **_FLOATS}),
        "approach": choice(APPROACHES),
        **{f"{tensor}.{leaf}": reader for tensor, keys in TENSOR_KEYS.items() for leaf, reader in keys.items()},
    }
)


def _read_named(node: Node) -> PartSpec:
    """Read a bare name, or a mapping with ``name`` and options."""
    if node.kind == "scalar" or (node.kind == "list" and all(item.kind == "scalar" for item in node.data)):
        return PartSpec(text(node), where=node.where)
    given = {entry.path[-1]: entry for entry in entries(node)}
    if "name" not in given:
        raise node.error("has no name; write 'name: ...' beside the options")
    name = text(given.pop("name"))
    return PartSpec(name, {key: plain(entry) for key, entry in given.items()}, where=node.where)


def _read_metric(node: Node) -> PartSpec:
    """Read a bare name, ``name: value``, ``name: {options}``, or a mapping with ``name`` and options."""
    if node.kind == "scalar" or (node.kind == "list" and all(item.kind == "scalar" for item in node.data)):
        return _read_named(node)
    given = list(entries(node))
    if any(entry.path[-1] == "name" for entry in given):
        return _read_named(node)
    if len(given) != 1:
        names = ", ".join(entry.path[-1] for entry in given) or "none"
        raise node.error(f"takes exactly one metric, not {len(given)} ({names}); keep one")
    metric = given[0]
    if metric.kind == "mapping" or (metric.kind == "list" and any(item.kind == "mapping" for item in metric.data)):
        options = {entry.path[-1]: plain(entry) for entry in entries(metric)}
        return PartSpec(metric.path[-1], options, where=node.where)
    return PartSpec(metric.path[-1], value=plain(metric), where=node.where)


def _read_executor(node: Node) -> PartSpec:
    named = _read_named(node)
    if named.name != "serial":
        raise not_yet(node, f"executor {named.name!r}", "write 'serial', or remove it")
    return named


def _read_ops(node: Node) -> tuple[OpLimits, ...]:
    """Read op name or glob -> limits."""
    limits = []
    for entry in entries(node):
        found = collect(entry, _OP_SCHEMA)
        if not found:
            raise entry.error("says nothing about the op; write 'dtype: float32' or other limits under it")
        values = {key: item.value for key, item in found.items()}
        limits.append(_limits(values, entry.path[-1], entry.where))
    return tuple(limits)


def _limits(values: Mapping[str, Any], pattern: str, where: str) -> OpLimits:
    """Build limits from values by the keys of ``_OP_SCHEMA``."""
    weight, activation = (
        TensorLimits(**{leaf: values.get(f"{tensor}.{leaf}", ()) for leaf in keys})
        for tensor, keys in TENSOR_KEYS.items()
    )
    return OpLimits(pattern, values.get("dtype", ()), values.get("approach", ()), weight, activation, where)


def _read_device(node: Node) -> str:
    name = text(node)
    if name != "cpu":
        raise node.error(f"{name!r} is not supported; ilit tunes for 'cpu' only")
    return name


def _read_resume(node: Node) -> str:
    word = choice({"never": "never", "auto": "auto", "require": "require"})(node)
    if word != "never":
        raise not_yet(node, f"{word!r}", "write 'never', or remove it")
    return word


def _read_smooth(node: Node) -> tuple[float, ...]:
    """Read strengths of SmoothQuant, ``none`` or ``false``; none of them is an empty tuple."""
    if node.kind == "scalar" and (node.data is False or node.data == "none"):
        return ()
    wanted = "above 0 to 1, such as 0.7 or [0.7, 0.9], or none"
    return one_or_more(node, share_within(wanted, lambda alpha: 0 < alpha <= 1))


_TRANSFORMS = Schema({"smooth": _read_smooth, "bias_correction": flag, "per_token": flag})


def _read_transforms(node: Node) -> TransformLimits:
    """Read a mapping of transforms, or the word ``none``, which forbids them all."""
    word = node.data[0] if node.kind == "list" and len(node.data) == 1 else node
    if word.kind == "scalar" and word.data == "none":
        return TransformLimits((), bias_correction=False, per_token=False, where=node.where)
    if word.kind == "scalar" and word.data is not None:
        raise node.error(f"{word} is unknown; write none, or a mapping of {', '.join(_TRANSFORMS.keys)}")
    return TransformLimits(**{key: item.value for key, item in collect(node, _TRANSFORMS).items()}, where=node.where)


# Where the leaves of the whole model's limits stand: key -> the key of ``_OP_SCHEMA`` with the same meaning.
MODEL_LEAVES = {
    "quantization.approach": "approach",
    **{f"quantization.{t}.{leaf}": f"{t}.{leaf}" for t in TENSORS for leaf in ("granularity", "scheme", "dtype")},
    **{f"calibration.algorithm.{t}": f"{t}.algorithm" for t in TENSORS},
    **{f"quantization.bits.{t}": f"{t}.bits" for t in TENSORS},
}
_SCHEMA = Schema(
    keys={
        "framework.name": text,
        "device": _read_device,
        "calibration.iterations": counts,
        "calibration.samples": counts,
        **{key: _OP_SCHEMA.keys[leaf] for key, leaf in MODEL_LEAVES.items()},
        "quantization.transforms": _read_transforms,
        "tuning.ops": _read_ops,
        "tuning.metric": _read_metric,
        "tuning.accuracy_criterion.relative": share,
        "tuning.accuracy_criterion.absolute": real,
        "tuning.accuracy_criterion.higher_is_better": flag,
        "tuning.strategy": _read_named,
        "tuning.objective": _read_named,
        "tuning.timeout": real,
        "tuning.stop": choice({"met": "met", "budget": "budget"}),
        "tuning.max_trials": whole(1),
        "tuning.random_seed": whole(0, 2**32 - 1),
        "run.folder": text,
        "run.resume": _read_resume,
        "run.key": text,
        "run.threads": whole(1),
        "run.executor": _read_executor,
        "evaluation.confidence": share_within(
            "above 0.5 to below 1, such as 0.95 or '95%'", lambda confidence: 0.5 < confidence < 1
        ),
        "evaluation.holdout": share_within("0 to 0.9, such as 0.2 or '20%'", lambda part: 0 <= part <= 0.9),
    },
    renamed={
        "snapshot.path": "run.folder",
        "tuning.metrics": "tuning.metric",
        "quantization.op_wise": "tuning.ops",
        "quantization.calibration.sampling_size": "calibration.samples",
        **{
            f"quantization.model_wise.{t}.{leaf}": f"quantization.{t}.{leaf}"
            for t in TENSORS
            for leaf in ("granularity", "scheme", "dtype")
        },
        **{f"quantization.model_wise.{t}.algorithm": f"calibration.algorithm.{t}" for t in TENSORS},
        "tuning.exit_policy.timeout": "tuning.timeout",
        "tuning.exit_policy.max_trials": "tuning.max_trials",
        "evaluation.accuracy.metric": "tuning.metric",
        "model.framework": "framework.name",
    },
    rivals=(
        frozenset({"calibration.iterations", "calibration.samples"}),
        frozenset({"tuning.accuracy_criterion.relative", "tuning.accuracy_criterion.absolute"}),
    ),
)


def read_config(source: str | Path | Mapping[str, Any] | None = None, **overrides: Any) -> Config:
    """Read a configuration.

    Args:
        source: a YAML file's path, a mapping of the same shape, or None for the defaults.
        overrides: sections (``tuning={"timeout": 60}``) whose keys win over those of ``source``.

    Raises:
        ConfigError: the first mistake, as ``conf.yaml:7: tuning.strategy: fact; cure``; the place is ``Tuner(...)``
            without a line for what came from Python.
        UnsupportedError: a documented key whose part is not built yet.
    """
    layers = [from_python(overrides)]
    if isinstance(source, Mapping):
        layers.insert(0, from_python(source))
    elif isinstance(source, (str, os.PathLike)):
        layers.insert(0, from_yaml(_text_of(Path(source)), str(source)))
    elif source is not None:
        kind = type(source).__name__
        raise ConfigError(f"Tuner(...): a configuration is a file's path or a mapping, not a {kind}; give one of them")
    found: dict[str, ParsedValue] = {}
    for layer in layers:
        found = overlay(found, collect(layer, _SCHEMA), _SCHEMA)
    return _config({key: item.value for key, item in found.items()}, layers[0].source)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: no such file; give a configuration's path, or write one with 'ilit init'"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not text in UTF-8; save it as a UTF-8 text file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; give a readable YAML file") from error


def _config(values: Mapping[str, Any], source: str) -> Config:
    """Fill in the defaults."""
    default = Config()
    relative, absolute = (values.get(f"tuning.accuracy_criterion.{kind}") for kind in ("relative", "absolute"))
    higher = values.get("tuning.accuracy_criterion.higher_is_better")
    kind, tolerance = ("relative", relative) if absolute is None else ("absolute", absolute)
    unit: Literal["rows", "batches"] = "batches" if "calibration.iterations" in values else "rows"
    sizes = values.get("calibration.iterations") or values.get("calibration.samples") or (128,)
    timeout = values.get("tuning.timeout", default.timeout)
    # For the whole model auto says nothing; for an op it takes back what the model says.
    limits = {leaf: values[key] for key, leaf in MODEL_LEAVES.items() if values.get(key, _AUTO) != _AUTO}
    return Config(
        framework=values.get("framework.name", default.framework),
        calibrations=tuple(CalibrationSize(size, unit) for size in sizes),
        model_limits=_limits(limits, "", f"{source}: quantization"),
        op_limits=values.get("tuning.ops", ()),
        transforms=values.get("quantization.transforms", default.transforms),
        metric=values.get("tuning.metric"),
        criterion=Criterion(kind, 0.01 if tolerance is None else tolerance, higher is not False),
        higher_is_better=higher,
        strategy=values.get("tuning.strategy", default.strategy),
        objective=values.get("tuning.objective", default.objective),
        executor=values.get("run.executor", default.executor),
        timeout=timeout,
        stop=values.get("tuning.stop", "budget" if timeout else "met"),
        max_trials=values.get("tuning.max_trials", default.max_trials),
        random_seed=values.get("tuning.random_seed", default.random_seed),
        run_folder=Path(values.get("run.folder", default.run_folder)),
        run_key=values.get("run.key", ""),
        threads=values.get("run.threads"),
        confidence=values.get("evaluation.confidence", default.confidence),
        holdout=values.get("evaluation.holdout", default.holdout),
        source=source,
    )
