"""Configuration: the table of options, the reading of YAML and keyword arguments, and the way back to YAML."""

from __future__ import annotations

from ilit.config.dump import resolved, resolved_yaml
from ilit.config.model import OpLimits, PartSpec, TensorLimits, TransformLimits
from ilit.config.options import Config
from ilit.config.source import keys_given, read_config

__all__ = [
    "Config",
    "OpLimits",
    "PartSpec",
    "TensorLimits",
    "TransformLimits",
    "keys_given",
    "read_config",
    "resolved",
    "resolved_yaml",
]
