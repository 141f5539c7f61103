"""The way back from a ``Config`` to YAML, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ilit.config.model import Config, OpLimits, PartSpec, TransformLimits
from ilit.config.schema import APPROACHES, MODEL_LEAVES, TENSOR_KEYS, TENSORS


def resolved(config: Config) -> dict[str, Any]:
    """Return the configuration with every default filled in, as the mapping that reads back to an equal ``Config``."""
    limits = _limit_values(config.model_limits)
    flat = {
        "framework.name": config.framework,
        "device": config.device,
        f"calibration.{'samples' if config.calibrations[0].unit == 'rows' else 'iterations'}": [
            size.count for size in config.calibrations
        ],
        **{key: limits[leaf] for key, leaf in MODEL_LEAVES.items() if leaf in limits},
        "quantization.transforms": _transform_values(config.transforms),
        "tuning.ops": {entry.pattern: _nested(_limit_values(entry)) for entry in config.op_limits},
        "tuning.metric": None if config.metric is None else _metric_value(config.metric),
        f"tuning.accuracy_criterion.{config.criterion.kind}": config.criterion.tolerance,
        "tuning.accuracy_criterion.higher_is_better": config.higher_is_better,
        "tuning.strategy": _named_value(config.strategy),
        "tuning.objective": _named_value(config.objective),
        "tuning.timeout": config.timeout,
        "tuning.stop": config.stop,
        "tuning.max_trials": config.max_trials,
        "tuning.random_seed": config.random_seed,
        "run.folder": str(config.run_folder),
        "run.key": config.run_key,
        "run.threads": config.threads,
        "run.executor": _named_value(config.executor),
        "evaluation.confidence": config.confidence,
        "evaluation.holdout": config.holdout,
    }
    return _nested({key: value for key, value in flat.items() if value is not None and value not in ("", {})})


def resolved_yaml(config: Config) -> str:
    """Return ``resolved`` as YAML text."""
    return yaml.safe_dump(resolved(config), sort_keys=False, allow_unicode=True, width=110)


def _limit_values(limits: OpLimits) -> dict[str, Any]:
    """Return the values of the keys that say these limits."""
    values: dict[str, Any] = {"dtype": list(limits.dtype)}
    values["approach"] = next((name for name, approach in APPROACHES.items() if approach == limits.approach), None)
    for tensor, given in zip(TENSORS, (limits.weight, limits.activation), strict=True):
        values |= {f"{tensor}.{leaf}": list(getattr(given, leaf)) for leaf in TENSOR_KEYS[tensor]}
    return {key: value for key, value in values.items() if value}


def _transform_values(limits: TransformLimits) -> dict[str, Any]:
    smooth = None if limits.smooth is None else list(limits.smooth) or "none"
    values = {"smooth": smooth, "bias_correction": limits.bias_correction, "per_token": limits.per_token}
    return {key: value for key, value in values.items() if value is not None}


def _named_value(named: PartSpec) -> Any:
    return {"name": named.name, **named.options} if named.options else named.name


def _metric_value(named: PartSpec) -> Any:
    if named.value is not None:
        return {named.name: named.value}
    return {named.name: dict(named.options)} if named.options else named.name


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into mappings within mappings."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        level = tree
        for section in sections:
            level = level.setdefault(section, {})
        level[name] = value
    return tree
